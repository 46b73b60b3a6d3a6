const std = @import("std");

pub const max_retries = 3;

/// Talks to one host.
pub const Client = struct {
    host: []const u8,

    pub fn send(self: *Client, data: []const u8) !void {
        _ = self;
        _ = data;
    }
};

const State = enum { open, closed };

pub fn connect(host: []const u8) Client {
    return .{ .host = host };
}

test "connects" {
    _ = connect("localhost");
}
