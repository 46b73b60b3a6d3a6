package web

import "time"

// Bucket limits the requests of one client.
type Bucket struct {
	tokens   float64
	refilled time.Time
}

// Allow takes a token and reports whether the client may send a request.
func (b *Bucket) Allow(now time.Time, rate, burst float64) bool {
	b.tokens = min(burst, b.tokens+rate*now.Sub(b.refilled).Seconds())
	b.refilled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
