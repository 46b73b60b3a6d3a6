import Foundation

let maxRetries = 3

/// Talks to one host.
public class Client {
    init(host: String) {
    }

    func send(_ data: Data) throws {
    }
}

struct Point {
    var x: Int
}

enum State {
    case open
}

protocol Sender {
    func send(_ data: Data) throws
}

extension Client: Sender {
    func close() {
    }
}

actor Pool {
}

typealias Handler = (String) -> Void

func connect(host: String) -> Client {
    return Client(host: host)
}
