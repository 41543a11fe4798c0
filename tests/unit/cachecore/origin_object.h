/* What the server of origin.h serves, does wrong, and saw. */
#pragma once

#include <arpa/inet.h>
#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ORIGIN_OBJECTS 16u
#define ORIGIN_CONNECTIONS 256u

struct origin_object {
    const char *path;
    const unsigned char *data;
    size_t size;
    const char *etag;    /* NULL: none, Last-Modified instead */
    const char *headers; /* more lines of good answers, each with its line end; NULL: none */
    /* what it does wrong */
    int status;     /* instead of all else */
    int fail_count; /* so many GETs get 503 first; counts down */
    int cut_count;  /* so many GETs end after cut_after bytes; counts down */
    size_t cut_after;
    bool ignores_ranges;   /* 200 for a range, though it promises ranges */
    bool shifts_ranges;    /* another range than the one asked for */
    bool ignores_if_match; /* sends what it has, whatever was asked for */
    bool hides_etag;       /* of ranges */
    bool chunked;          /* no Content-Length, no ranges */
    size_t endless;        /* so many bytes more than size, of a stream */
    int wrong_count;       /* so many GETs get a flipped byte, unless they come with no-cache and wrong_count_cached */
    int slow;              /* so many ms before each 16 KiB of a body */
    int hold;              /* GETs wait while it is 1 */
    int hold_after;        /* but so many are answered first */
    const unsigned char *next_data; /* with next_etag: served after change_after GETs */
    const char *next_etag;
    int change_after;
    /* what it saw */
    int gets;
    int no_cache_gets;
    size_t bytes;
};

struct origin {
    int listener;
    uint16_t port;
    pthread_t thread;
    atomic_bool stop;
    _Atomic size_t sent; /* of slow bodies, as they go */
    struct {
        pthread_mutex_t mutex;
        struct origin_object objects[ORIGIN_OBJECTS];
        size_t count;
        pthread_t connections[ORIGIN_CONNECTIONS];
        size_t connection_count;
    } locked;
};
