/* Which repeated log lines to leave out: pure but for its own table; time is an argument. Not thread-safe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LOG_LIMIT_SLOTS 256u
#define LOG_LIMIT_MS 60000

struct log_limit {
    struct {
        uint64_t key;      /* 0: free */
        int64_t logged_ms; /* the last line */
        unsigned left_out; /* since then */
    } slots[LOG_LIMIT_SLOTS];
};

/* Should the line for a and b be logged now? Then *left_out is how many were not since the last one. */
bool log_limit_pass(struct log_limit *limit, const char *a, const char *b, int64_t now_ms, unsigned *left_out);
/* What comes next for a and b is news again. */
void log_limit_forget(struct log_limit *limit, const char *a, const char *b);
