#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/str.h"

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static _Atomic int max_level = LOG_INFO;
static _Atomic int line_format = LOG_TEXT;

void log_set_level(enum log_level level)
{
    atomic_store(&max_level, (int)level);
}

int log_parse_level(const char *name, enum log_level *out)
{
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        if (strcmp(level_names[i], name) == 0) {
            *out = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

void log_set_format(enum log_format format)
{
    atomic_store(&line_format, (int)format);
}

int log_parse_format(const char *name, enum log_format *out)
{
    if (strcmp(name, "text") != 0 && strcmp(name, "json") != 0)
        return -1;
    *out = strcmp(name, "json") == 0 ? LOG_JSON : LOG_TEXT;
    return 0;
}

const char *log_format_name(void)
{
    return atomic_load(&line_format) == LOG_JSON ? "json" : "text";
}

static void value_append(struct str *line, const char *value)
{
    if (value[0] != '\0' && strcspn(value, " \"=\\\n\r\t") == strlen(value)) {
        str_append_text(line, value);
        return;
    }
    str_append_char(line, '"');
    for (const unsigned char *p = (const unsigned char *)value; *p; p++) {
        if (*p == '"' || *p == '\\')
            str_printf(line, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            str_printf(line, "\\x%02x", *p);
        else
            str_append_char(line, (char)*p);
    }
    str_append_char(line, '"');
}

/* What is not UTF-8 cannot stand in JSON: its bytes above ASCII become '?'. */
static void json_append(struct str *line, const char *text)
{
    bool is_utf8 = str_is_utf8(text, strlen(text));
    str_append_char(line, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p == '"' || *p == '\\')
            str_printf(line, "\\%c", *p);
        else if (*p < 0x20 || *p == 0x7f)
            str_printf(line, "\\u%04x", *p);
        else
            str_append_char(line, *p < 0x80 || is_utf8 ? (char)*p : '?');
    }
    str_append_char(line, '"');
}

static void timestamp_append(struct str *line)
{
    struct timespec now;
    struct tm utc;
    char text[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    str_printf(line, "%s.%03ldZ", text, now.tv_nsec / 1000000);
}

static void head_append(struct str *line, bool is_json, enum log_level level, const char *event)
{
    str_append_text(line, is_json ? "{\"ts\":\"" : "ts=");
    timestamp_append(line);
    str_printf(line, is_json ? "\",\"level\":\"%s\",\"event\":\"%s\"" : " level=%s event=%s", level_names[level],
               event);
}

static void pair_append(struct str *line, bool is_json, const char *key, const char *value)
{
    str_printf(line, is_json ? ",\"%s\":" : " %s=", key);
    (is_json ? json_append : value_append)(line, value);
}

void log_event(enum log_level level, const char *event, ...)
{
    if ((int)level > atomic_load(&max_level))
        return;
    bool is_json = atomic_load(&line_format) == LOG_JSON;
    _cleanup_(str_deinitp) struct str line = STR_INIT;
    head_append(&line, is_json, level, event);
    va_list args;
    va_start(args, event);
    for (const char *key = va_arg(args, const char *); key; key = va_arg(args, const char *)) {
        const char *value = va_arg(args, const char *);
        if (value)
            pair_append(&line, is_json, key, value);
    }
    va_end(args);
    str_append_text(&line, is_json ? "}\n" : "\n");
    if (write(STDERR_FILENO, line.data, line.len) < 0)
        return; /* nobody reads our log: there is nowhere left to say so */
}
