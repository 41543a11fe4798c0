#include "cachecore/credential_http.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cachecore/credential_slots.h"

#define METADATA_ADDRESSES "169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23"
#define CODE_MAX 64u
#define TRIES_MAX 3u /* of what is answered with a time to come again */
#define CANCEL_CHECK_MS 100

static int on_body(void *context, const struct http_response *response, const void *data, size_t len, struct err *err)
{
    struct str *body = context;
    (void)response;
    (void)err;
    str_append(body, data, len);
    return 0;
}

static struct http *http_for(const struct credential_question *question, struct arena *arena)
{
    const struct class *class = question->request->class;
    const char *allowed = class->allowed_addresses;
    if (question->is_metadata)
        allowed = allowed ? arena_printf(arena, "%s,%s", METADATA_ADDRESSES, allowed) : METADATA_ADDRESSES;
    const struct http_rules rules = {
        .allowed_addresses = allowed,
        .ca_bundle = class->ca_bundle,
        .proxy = question->is_metadata ? NULL : class->proxy,
        .connect_timeout_ms = question->is_metadata ? CREDENTIAL_METADATA_TIMEOUT_MS : CREDENTIAL_TIMEOUT_MS,
    };
    return http_new(&rules);
}

static void str_wipe(struct str *text)
{
    if (text->data)
        explicit_bzero(text->data, text->capacity);
    str_deinit(text);
}

static int ask_once(const struct credential_question *question, struct arena *arena, struct credential_answer *out,
                    int64_t *wait_s, struct err *err)
{
    struct str body = STR_INIT;
    const struct http_request request = {
        .method = question->method,
        .url = question->url,
        .display = question->service,
        .headers = question->headers,
        .header_count = question->header_count,
        .body = question->body,
        .body_len = question->body_len,
        .body_max = CREDENTIAL_ANSWER_MAX,
        .no_redirects = true,
        .timeout_ms = question->is_metadata ? CREDENTIAL_METADATA_TIMEOUT_MS : CREDENTIAL_TIMEOUT_MS,
        .error_body = &body,
    };
    struct http_response response;
    if (credential_slot_take(question->request->cancel, err) != 0)
        return err_prefix(err, "%s", question->service);
    struct http *http = http_for(question, arena);
    str_reserve(&body, CREDENTIAL_ANSWER_MAX); /* at once: growing would leave copies behind */
    int result = http_perform(http, &request, on_body, &body, &response, question->request->cancel, err);
    http_free(http);
    credential_slot_give_back();
    if (result == 0)
        *out = (struct credential_answer){
            .status = response.status,
            .body = arena_strndup(arena, body.data, body.len),
            .len = body.len,
            .is_google_metadata = response.is_google_metadata,
        };
    *wait_s = result == 0 ? response.retry_after_s : -1;
    str_wipe(&body);
    if (result != 0 && err->code == ERR_DEADLINE)
        err->code = ERR_UNAVAILABLE;
    return result == 0 ? 0 : err_prefix(err, "%s", question->service);
}

/* False when cancelled meanwhile. */
static bool wait_for(int64_t seconds, const atomic_bool *cancel)
{
    const int64_t end_ms = clock_monotonic_ms() + seconds * 1000;
    while (clock_monotonic_ms() < end_ms && !(cancel && atomic_load(cancel)))
        nanosleep(&(struct timespec){.tv_nsec = CANCEL_CHECK_MS * 1000000}, NULL);
    return !(cancel && atomic_load(cancel));
}

/* All who want these credentials wait for one answer, so that nobody comes before the time that a busy service names. */
int credential_ask(const struct credential_question *question, struct arena *arena, struct credential_answer *out,
                   struct err *err)
{
    for (unsigned try = 1;; try++) {
        int64_t retry_after_s;
        if (ask_once(question, arena, out, &retry_after_s, err) != 0)
            return -1;
        bool is_busy = out->status == 429 || out->status == 503;
        if (!is_busy || retry_after_s < 0 || try == TRIES_MAX)
            return 0;
        if (!wait_for(retry_after_s, question->request->cancel))
            return err_set(err, ERR_CANCELLED, "%s: cancelled while it asks to wait", question->service);
    }
}

static enum err_code code_of_status(int status)
{
    if (status == 429 || status >= 500)
        return ERR_UNAVAILABLE;
    if (status == 400 || status == 401)
        return ERR_UNAUTHENTICATED;
    return status == 403 ? ERR_DENIED : ERR_PRECONDITION;
}

int credential_status_error(const struct credential_question *question, const struct credential_answer *answer,
                            const char *code, struct err *err)
{
    char shown[CODE_MAX + 1] = "";
    for (size_t i = 0; i < CODE_MAX && code[i]; i++)
        shown[i] = isalnum((unsigned char)code[i]) || strchr("_-.:", code[i]) ? code[i] : '?';
    return err_set(err, code_of_status(answer->status), "%s: HTTP %d%s%s", question->service, answer->status,
                   shown[0] ? " " : "", shown);
}
