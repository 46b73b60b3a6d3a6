local socket = require("socket")

local MAX_RETRIES = 3

local Client = {}

--- Sends.
function Client:send(data)
  return self.socket:send(data)
end

function Client.open(host)
  return setmetatable({ host = host }, Client)
end

local function connect(host)
  return Client.open(host)
end

Client.close = function(self)
  self.socket = nil
end

return Client
