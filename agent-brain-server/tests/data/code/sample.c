#include <stdio.h>

#define MAX_RETRIES 3
#define SQUARE(x) ((x) * (x))

typedef struct client {
    char *host;
} client_t;

struct options {
    int port;
};

enum state { OPEN, CLOSED };

/* Sends. */
static int send_data(struct client *c, const char *data)
{
    return 0;
}

char *client_name(client_t *c) {
    return c->host;
}
