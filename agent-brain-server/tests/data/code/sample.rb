require "socket"

module Net
  MAX_RETRIES = 3

  # Talks to one host.
  class Client < Base
    attr_reader :host

    def initialize(host)
      @host = host
    end

    def self.open(host)
      new(host)
    end
  end
end

def connect(host)
  Net::Client.new(host)
end
