package net.example;

import java.util.List;

/** Talks to one host. */
@Deprecated
public class Client {
    public static final int MAX_RETRIES = 3;

    public Client(String host) {
    }

    @Override
    public void send(byte[] data) {
    }

    enum State {
        OPEN
    }
}

interface Sender {
    void send(byte[] data);
}

record Point(int x, int y) {
}

@interface Marker {
}
