package client

import "net"

const MaxRetries = 3

var (
	defaultHost = "localhost"
)

// Client talks to one host.
type Client struct {
	host string
}

type Sender interface {
	Send(data []byte) error
}

// Send sends.
func (c *Client) Send(data []byte) error {
	return nil
}

func Connect(host string) *Client {
	return &Client{host: host}
}
