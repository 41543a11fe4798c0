#include "mount/plan.h"

#include <stddef.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEXT_NONE UINT32_MAX

static const size_t numbers[] = {
    offsetof(struct plan, op),     offsetof(struct plan, uid),  offsetof(struct plan, form),
    offsetof(struct plan, noexec), offsetof(struct plan, lazy),
};

static const size_t texts[] = {
    offsetof(struct plan, key),      offsetof(struct plan, target),   offsetof(struct plan, fstype),
    offsetof(struct plan, source),   offsetof(struct plan, options),  offsetof(struct plan, host),
    offsetof(struct plan, sub_path), offsetof(struct plan, username), offsetof(struct plan, password),
    offsetof(struct plan, label),    offsetof(struct plan, context),
};

static const char *text_of(const struct plan *plan, size_t i)
{
    const char *text;
    memcpy(&text, (const char *)plan + texts[i], sizeof(const char *));
    return text;
}

int plan_encode(const struct plan *plan, struct str *out, struct err *err)
{
    for (size_t i = 0; i < COUNT(numbers); i++)
        str_append(out, (const char *)plan + numbers[i], sizeof(uint64_t));
    for (size_t i = 0; i < COUNT(texts); i++) {
        const char *text = text_of(plan, i);
        uint32_t len = text ? (uint32_t)strnlen(text, PLAN_BYTES_MAX + 1) : TEXT_NONE;
        str_append(out, &len, sizeof(len));
        if (text)
            str_append(out, text, len);
    }
    if (out->len > PLAN_BYTES_MAX)
        return err_set(err, ERR_INVALID, "a mount with more than %d bytes of names and options", PLAN_BYTES_MAX);
    return 0;
}

struct reader {
    const char *next;
    size_t left;
};

static int bytes_take(struct reader *reader, void *out, size_t len)
{
    if (len > reader->left)
        return -1;
    memcpy(out, reader->next, len);
    reader->next += len;
    reader->left -= len;
    return 0;
}

static int text_take(struct arena *arena, struct reader *reader, const char **out)
{
    uint32_t len;
    if (bytes_take(reader, &len, sizeof(len)) != 0)
        return -1;
    *out = NULL;
    if (len == TEXT_NONE)
        return 0;
    if (len > reader->left || memchr(reader->next, '\0', len))
        return -1;
    *out = arena_strndup(arena, reader->next, len);
    reader->next += len;
    reader->left -= len;
    return 0;
}

static int fields_take(struct arena *arena, struct reader *reader, struct plan *plan)
{
    for (size_t i = 0; i < COUNT(numbers); i++) {
        if (bytes_take(reader, (char *)plan + numbers[i], sizeof(uint64_t)) != 0)
            return -1;
    }
    for (size_t i = 0; i < COUNT(texts); i++) {
        const char *text;
        if (text_take(arena, reader, &text) != 0)
            return -1;
        memcpy((char *)plan + texts[i], &text, sizeof(const char *));
    }
    return reader->left == 0 ? 0 : -1;
}

int plan_decode(struct arena *arena, const void *data, size_t len, struct plan *out, struct err *err)
{
    struct plan plan = {.op = 0};
    struct reader reader = {.next = data, .left = len};
    if (len > PLAN_BYTES_MAX || fields_take(arena, &reader, &plan) != 0 || plan.op < PLAN_SHARE_OPEN ||
        plan.op > PLAN_UNMOUNT || plan.uid > UINT32_MAX - 1)
        return err_set(err, ERR_CORRUPT, "the mount helper was sent something that is no plan");
    *out = plan;
    return 0;
}

int reply_decode(const void *data, size_t len, struct reply *out, struct err *err)
{
    struct reply reply;
    if (len != sizeof(reply))
        return err_set(err, ERR_CORRUPT, "the mount helper sent something that is no reply");
    memcpy(&reply, data, sizeof(reply));
    if (reply.code < ERR_NONE || reply.code > ERR_INTERNAL || !memchr(reply.message, '\0', sizeof(reply.message)))
        return err_set(err, ERR_CORRUPT, "the mount helper sent something that is no reply");
    *out = reply;
    return 0;
}
