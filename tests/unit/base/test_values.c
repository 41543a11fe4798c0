/* Arena, secret, clock, log: the small ones. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/str.h"

static void arena_gives_zeroed_aligned_memory(void **state)
{
    (void)state;
    _cleanup_(arena_freep) struct arena *arena = arena_new();
    for (size_t size = 1; size < 100000; size = size * 3 + 1) {
        unsigned char *data = arena_alloc(arena, size);
        assert_int_equal((uintptr_t)data % 16, 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(data[i], 0);
        memset(data, 0xff, size);
    }
    assert_string_equal(arena_printf(arena, "%s-%d", "a", 7), "a-7");
    assert_string_equal(arena_strndup(arena, "abcdef", 3), "abc");
    assert_true(arena_used(arena) > 100000 / 3);
}

static void secrets_are_found_by_key(void **state)
{
    (void)state;
    struct secret_map map = SECRET_MAP_INIT;
    struct secret_map copy = SECRET_MAP_INIT;
    secret_map_add(&map, "key_id", "AKIA", 4);
    secret_map_add(&map, "access_key", "s3cr\0et", 7);
    secret_map_copy(&copy, &map);
    secret_map_deinit(&map);
    assert_null(secret_map_get(&map, "key_id"));
    assert_string_equal(secret_reveal(secret_map_get(&copy, "key_id")), "AKIA");
    assert_int_equal(secret_len(secret_map_get(&copy, "access_key")), 7);
    assert_null(secret_map_get(&copy, "session_token"));
    secret_map_deinit(&copy);
}

static void poll_timeouts_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(clock_poll_timeout(CLOCK_NEVER), -1);
    assert_int_equal(clock_poll_timeout(0), 0);
    assert_int_equal(clock_poll_timeout(CLOCK_NEVER - 1), INT_MAX);
    int left = clock_poll_timeout(clock_monotonic_ms() + 1000);
    assert_true(left > 0 && left <= 1000);
}

/* What one call writes to standard error. */
static void logged(char *out, size_t size, enum log_level level, const char *value)
{
    int pair[2];
    assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
    int saved = dup(STDERR_FILENO);
    dup2(pair[1], STDERR_FILENO);
    log_event(level, "fill_done", "url", value, "missing", NULL, "count", "3", NULL);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(pair[1]);
    ssize_t got = read(pair[0], out, size - 1);
    out[got > 0 ? got : 0] = '\0';
    close(pair[0]);
}

static void log_lines_are_one_line_whatever_the_value(void **state)
{
    (void)state;
    char line[512];
    logged(line, sizeof(line), LOG_INFO, "a\"b\nc=d\x01");
    assert_non_null(strstr(line, "level=info event=fill_done url=\"a\\\"b\\x0ac=d\\x01\" count=3\n"));
    assert_null(strstr(line, "missing"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    logged(line, sizeof(line), LOG_INFO, "plain");
    assert_non_null(strstr(line, " url=plain "));
    logged(line, sizeof(line), LOG_DEBUG, "plain");
    assert_string_equal(line, "");
}

static void log_lines_are_json_when_asked(void **state)
{
    (void)state;
    char line[512];
    enum log_format format;
    assert_int_equal(log_parse_format("yaml", &format), -1);
    assert_int_equal(log_parse_format("json", &format), 0);
    log_set_format(format);
    assert_string_equal(log_format_name(), "json");
    logged(line, sizeof(line), LOG_INFO, "a\"b\\\nc=\xc3\xa9\x01");
    assert_true(str_starts_with(line, "{\"ts\":\"2"));
    assert_non_null(
        strstr(line, "Z\",\"level\":\"info\",\"event\":\"fill_done\",\"url\":\"a\\\"b\\\\\\u000ac=\xc3\xa9\\u0001\","
                     "\"count\":\"3\"}\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    logged(line, sizeof(line), LOG_INFO, "not utf-8: \xff\xc3");
    assert_non_null(strstr(line, "\"url\":\"not utf-8: ?"
                                 "?\""));
    log_set_format(LOG_TEXT);
    logged(line, sizeof(line), LOG_INFO, "plain");
    assert_non_null(strstr(line, " url=plain "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_gives_zeroed_aligned_memory),
        cmocka_unit_test(secrets_are_found_by_key),
        cmocka_unit_test(poll_timeouts_are_bounded),
        cmocka_unit_test(log_lines_are_one_line_whatever_the_value),
        cmocka_unit_test(log_lines_are_json_when_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
