#include "csi/event_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "cachecore/digest.h"

#define HASH_DIGITS 16u

static const struct {
    const char *type;
    const char *reason;
} reasons[] = {
    [EVENT_COPYING] = {"Normal", "InputCopying"},
    [EVENT_READY] = {"Normal", "InputReady"},
    [EVENT_FAILED] = {"Warning", "InputDownloadFailed"},
};

static bool is_name(const char *text)
{
    size_t len = strlen(text);
    return len > 0 && len <= EVENT_NAME_MAX && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") == len &&
           isalnum((unsigned char)text[0]) && isalnum((unsigned char)text[len - 1]) && !strstr(text, "..");
}

bool event_is_sound(const struct event *event)
{
    return is_name(event->namespace) && !strchr(event->namespace, '.') && is_name(event->pod) && is_name(event->uid);
}

void event_name(const struct event *event, char *out)
{
    _cleanup_(str_deinitp) struct str key = STR_INIT;
    char digest[SHA256_HEX];
    int len = (int)strlen(event->pod);
    if (len > (int)(EVENT_NAME_MAX - HASH_DIGITS - 1))
        len = (int)(EVENT_NAME_MAX - HASH_DIGITS - 1);
    while (len > 0 && !isalnum((unsigned char)event->pod[len - 1]))
        len--;
    str_printf(&key, "%s\n%s\n%s", event->uid, event->volume, reasons[event->reason].reason);
    digest_sha256_hex(key.data, key.len, digest);
    snprintf(out, EVENT_NAME_MAX + 1, "%.*s.%.*s", len, event->pod, (int)HASH_DIGITS, digest);
}

/* One line of at most EVENT_MESSAGE_MAX bytes, cut between characters; what is not UTF-8 loses its bytes above ASCII. */
static json_t *message_json(const char *message)
{
    size_t len = strnlen(message, EVENT_MESSAGE_MAX + 1);
    if (len > EVENT_MESSAGE_MAX)
        for (len = EVENT_MESSAGE_MAX; len > 0 && ((unsigned char)message[len] & 0xc0) == 0x80;)
            len--;
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    bool is_utf8 = str_is_utf8(message, len);
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)message[i];
        str_append_char(&text, c < 0x20 || c == 0x7f ? ' ' : c < 0x80 || is_utf8 ? (char)c : '?');
    }
    return json_stringn(text.data ? text.data : "", text.len);
}

static void time_print(int64_t now_s, char out[32])
{
    time_t seconds = (time_t)now_s;
    struct tm utc;
    gmtime_r(&seconds, &utc);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

/* All texts are checked or made here, so packing fails for want of memory only. */
static json_t *packed(json_t *object)
{
    if (!object)
        abort();
    return object;
}

json_t *event_object(const struct event *event, const struct event_source *source, int64_t now_s)
{
    char name[EVENT_NAME_MAX + 1];
    char now[32];
    event_name(event, name);
    time_print(now_s, now);
    return packed(json_pack(
        "{s:s, s:s, s:{s:s, s:s}, s:{s:s, s:s, s:s, s:s, s:s}, s:s, s:s, s:o, s:s, s:s, s:i, s:{s:s, s:s}, s:s, s:s}",
        "apiVersion", "v1", "kind", "Event", "metadata", "name", name, "namespace", event->namespace, "involvedObject",
        "apiVersion", "v1", "kind", "Pod", "namespace", event->namespace, "name", event->pod, "uid", event->uid, "type",
        reasons[event->reason].type, "reason", reasons[event->reason].reason, "message", message_json(event->message),
        "firstTimestamp", now, "lastTimestamp", now, "count", 1, "source", "component", source->driver_name, "host",
        source->node_id, "reportingComponent", source->driver_name, "reportingInstance", source->node_id));
}

json_t *event_renewal(const struct event *event, unsigned count, int64_t now_s)
{
    char now[32];
    time_print(now_s, now);
    return packed(json_pack("{s:o, s:s, s:i}", "message", message_json(event->message), "lastTimestamp", now, "count",
                            (int)count));
}
