#include "cachecore/http_head.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define RETRY_AFTER_MAX_S 60
#define VALUE_MAX 8192u

void http_head_init(struct http_head *head)
{
    size_t bytes = head->bytes;
    size_t lines = head->lines;
    memset(head, 0, sizeof(*head));
    head->bytes = bytes;
    head->lines = lines;
    head->response.content_length = -1;
    head->response.range_total = UINT64_MAX;
    head->response.retry_after_s = -1;
}

static int protocol_error(struct err *err, const char *what)
{
    return err_set(err, ERR_PRECONDITION, "HTTP protocol error: %s", what);
}

int64_t http_date_parse(const char *text)
{
    static const char *const formats[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                          "%a %b %d %H:%M:%S %Y"};
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct tm tm = {0};
        const char *end = strptime(text, formats[i], &tm);
        if (!end || *end != '\0' || tm.tm_year > 8099)
            continue;
        int64_t seconds = timegm(&tm);
        return seconds > 0 ? seconds : 0;
    }
    return 0;
}

static int take_text(char *out, size_t size, const char *value)
{
    size_t len = strlen(value);
    if (len < size)
        memcpy(out, value, len + 1);
    else
        out[0] = '\0';
    return 0;
}

static int take_length(struct http_head *head, const char *value, struct err *err)
{
    uint64_t length;
    while (value[0] == '0' && value[1] != '\0')
        value++;
    if (str_parse_u64(value, INT64_MAX, &length) != 0)
        return protocol_error(err, "Content-Length is not a number that can be");
    if (head->response.content_length >= 0 && head->response.content_length != (int64_t)length)
        return protocol_error(err, "two Content-Length headers that differ");
    head->response.content_length = (int64_t)length;
    return 0;
}

static int take_coding(struct http_head *head, const char *value, struct err *err)
{
    if (strcasecmp(value, "chunked") != 0 || head->is_chunked)
        return protocol_error(err, "a Transfer-Encoding other than chunked");
    head->is_chunked = true;
    return 0;
}

/* A decimal number at *text, which is left behind it. */
static bool number_take(const char **text, uint64_t *out)
{
    char digits[24] = {0};
    size_t len = strspn(*text, "0123456789");
    if (len == 0 || len >= sizeof(digits))
        return false;
    memcpy(digits, *text, len);
    *text += len;
    return str_parse_u64(digits, INT64_MAX, out) == 0;
}

static bool byte_take(const char **text, char c)
{
    bool is_there = **text == c;
    *text += is_there;
    return is_there;
}

/* "bytes first-last/total", "bytes first-last/ *" or "bytes * /total" (RFC 9110, 14.4). What is not so is as good as not there. */
static int take_range(struct http_head *head, const char *value)
{
    struct http_response *response = &head->response;
    uint64_t first = 0, last = 0, total = UINT64_MAX;
    response->has_range = false;
    response->range_total = UINT64_MAX;
    if (strncasecmp(value, "bytes ", 6) != 0)
        return 0;
    const char *p = value + 6;
    bool unsatisfied = byte_take(&p, '*');
    bool ok = unsatisfied || (number_take(&p, &first) && byte_take(&p, '-') && number_take(&p, &last));
    ok = ok && byte_take(&p, '/') && (byte_take(&p, '*') || number_take(&p, &total));
    if (!ok || *p != '\0' || first > last || (!unsatisfied && last >= total))
        return 0;
    response->has_range = !unsatisfied;
    response->range_first = first;
    response->range_last = last;
    response->range_total = total;
    return 0;
}

static int take_retry_after(struct http_head *head, const char *value)
{
    size_t digits = strspn(value, "0123456789");
    if (digits > 0 && value[digits] == '\0') {
        uint64_t seconds = RETRY_AFTER_MAX_S;
        const char *p = value;
        bool sane = digits < 10 && number_take(&p, &seconds) && seconds < RETRY_AFTER_MAX_S;
        head->response.retry_after_s = sane ? (int64_t)seconds : RETRY_AFTER_MAX_S;
        return 0;
    }
    head->retry_date_s = http_date_parse(value);
    return 0;
}

static void retry_date_resolve(struct http_head *head, int64_t now_s)
{
    if (head->retry_date_s == 0 || head->response.retry_after_s >= 0)
        return;
    int64_t wait = head->retry_date_s - (head->date_s ? head->date_s : now_s);
    head->response.retry_after_s = wait < 0 ? 0 : wait > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S : wait;
}

static int take_location(struct http_head *head, const char *value, struct err *err)
{
    if (strlen(value) > HTTP_LOCATION_MAX)
        return protocol_error(err, "a Location that is too long");
    head->has_location = *value != '\0';
    return take_text(head->location, sizeof(head->location), value);
}

static int take_modified(struct http_head *head, const char *value)
{
    head->response.last_modified_s = http_date_parse(value);
    return take_text(head->response.last_modified, sizeof(head->response.last_modified), value);
}

/* Azure's code of an error, which also answers have that come without a body. */
static int take_code(struct http_response *response, const char *value)
{
    size_t plain = 0;
    while (isalnum((unsigned char)value[plain]))
        plain++;
    return value[plain] == '\0' ? take_text(response->error_code, sizeof(response->error_code), value) : 0;
}

static int header_take(struct http_head *head, const char *name, const char *value, struct err *err)
{
    struct http_response *response = &head->response;
    if (strcasecmp(name, "Content-Length") == 0)
        return take_length(head, value, err);
    if (strcasecmp(name, "Transfer-Encoding") == 0)
        return take_coding(head, value, err);
    if (strcasecmp(name, "Content-Range") == 0)
        return take_range(head, value);
    if (strcasecmp(name, "Location") == 0)
        return take_location(head, value, err);
    if (strcasecmp(name, "ETag") == 0)
        return take_text(response->etag, sizeof(response->etag), value);
    if (strcasecmp(name, "Last-Modified") == 0)
        return take_modified(head, value);
    if (strcasecmp(name, "Retry-After") == 0)
        return take_retry_after(head, value);
    if (strcasecmp(name, "Content-Encoding") == 0)
        return take_text(response->content_encoding, sizeof(response->content_encoding), *value ? value : "identity");
    if (strcasecmp(name, "x-amz-version-id") == 0 || strcasecmp(name, "x-goog-generation") == 0)
        return take_text(response->version_id, sizeof(response->version_id), value);
    if (strcasecmp(name, "x-ms-error-code") == 0)
        return take_code(response, value);
    if (strcasecmp(name, "x-amz-bucket-region") == 0)
        return take_text(response->region, sizeof(response->region), value);
    checksums_take(&response->checksums, name, value);
    if (strcasecmp(name, "Accept-Ranges") == 0)
        response->accepts_ranges = strcasecmp(value, "bytes") == 0;
    if (strcasecmp(name, "Metadata-Flavor") == 0)
        response->is_google_metadata = strcmp(value, "Google") == 0;
    if (strcasecmp(name, "Date") == 0)
        head->date_s = http_date_parse(value);
    return 0;
}

static int status_take(struct http_head *head, const char *line, struct err *err)
{
    const char *status = strchr(line, ' ');
    if (strncmp(line, "HTTP/1.", 7) != 0 || !status || !isdigit((unsigned char)status[1]) ||
        !isdigit((unsigned char)status[2]) || !isdigit((unsigned char)status[3]) || isdigit((unsigned char)status[4]))
        return protocol_error(err, "the status line is not that of HTTP/1");
    if (head->is_open)
        return protocol_error(err, "a status line among the headers");
    http_head_init(head);
    head->is_open = true;
    head->response.status = (status[1] - '0') * 100 + (status[2] - '0') * 10 + (status[3] - '0');
    if (head->response.status < 100)
        return protocol_error(err, "the status is less than 100");
    return 0;
}

static int head_end(struct http_head *head, int64_t now_s, struct err *err)
{
    if (head->response.status == 0)
        return protocol_error(err, "no status line");
    head->is_open = false;
    if (head->response.status < 200)
        return 0;
    retry_date_resolve(head, now_s);
    checksums_finish(&head->response.checksums, head->response.status, head->response.content_encoding);
    if (head->is_chunked)
        head->response.content_length = -1;
    head->is_complete = true;
    return 0;
}

static int field_take(struct http_head *head, char *line, struct err *err)
{
    char *colon = strchr(line, ':');
    if (head->response.status == 0)
        return protocol_error(err, "a header before the status line");
    if (!colon || colon == line || line[0] == ' ' || line[0] == '\t')
        return 0; /* neither a field nor anything that was asked for */
    *colon = '\0';
    return header_take(head, line, colon + 1 + strspn(colon + 1, " \t"), err);
}

int http_head_line(struct http_head *head, const char *line, size_t len, int64_t now_s, struct err *err)
{
    char text[VALUE_MAX + 512];
    head->bytes += len;
    head->lines++;
    if (head->bytes > HTTP_HEAD_BYTES_MAX || head->lines > HTTP_HEAD_LINES_MAX)
        return err_set(err, ERR_PRECONDITION, "HTTP protocol error: headers of more than %u KiB or %u lines",
                       HTTP_HEAD_BYTES_MAX >> 10, HTTP_HEAD_LINES_MAX);
    while (len > 0 && strchr("\r\n \t", line[len - 1]) && line[len - 1] != '\0')
        len--;
    if (head->is_complete)
        return 0;
    if (len == 0)
        return head_end(head, now_s, err);
    if (memchr(line, '\0', len))
        return protocol_error(err, "a NUL in a header");
    if (len >= sizeof(text)) /* nothing that is asked for is so long, and a Location may not be */
        return strncasecmp(line, "Location:", 9) == 0 ? protocol_error(err, "a Location that is too long") : 0;
    memcpy(text, line, len);
    text[len] = '\0';
    return str_starts_with(text, "HTTP/") ? status_take(head, text, err) : field_take(head, text, err);
}

/* The text of the first <name>..</name>, if it is plain enough to be shown. */
static void element_take(const char *body, size_t len, const char *name, char *out, size_t size)
{
    char tag[32];
    int tag_len = snprintf(tag, sizeof(tag), "<%s>", name);
    const char *start = memmem(body, len, tag, (size_t)tag_len);
    if (!start)
        return;
    start += tag_len;
    size_t left = len - (size_t)(start - body);
    size_t used = 0;
    while (used < left && (isalnum((unsigned char)start[used]) || (start[used] != '\0' && strchr("-._", start[used]))))
        used++;
    if (used == 0 || used >= size || used == left || start[used] != '<')
        return;
    memcpy(out, start, used);
    out[used] = '\0';
}

void http_error_body_read(const char *body, size_t len, struct http_response *response)
{
    element_take(body, len, "Code", response->error_code, sizeof(response->error_code));
    if (response->region[0] == '\0')
        element_take(body, len, "Region", response->region, sizeof(response->region));
}
