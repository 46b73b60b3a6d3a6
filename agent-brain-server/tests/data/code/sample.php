<?php

namespace Example\Net;

use Socket;

const MAX_RETRIES = 3;

/** Talks to one host. */
#[Final]
class Client extends Base
{
    const LIMIT = 1;

    public function send(string $data): void
    {
    }
}

interface Sender
{
    public function send(string $data): void;
}

trait Closes
{
    public function close() {}
}

enum State
{
    case Open;
}

function connect(string $host): Client
{
    return new Client($host);
}
