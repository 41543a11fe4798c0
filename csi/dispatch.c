#include "csi/dispatch.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "csi/log_limit.h"
#include "csi/message.h"
#include "csi/metrics.h"
#include "csi/status.h"
#include "csi/volume_id.h"

struct bound {
    struct dispatch *dispatch;
    const struct dispatch_method *method;
    void *service;
};

struct dispatch {
    const char *driver_name;
    struct metrics *metrics;
    struct bound *bound;
    struct rpc_method *methods;
    size_t count;
    struct {
        pthread_mutex_t mutex;
        struct log_limit limit;
    } locked;
};

static const char *text_of(const ProtobufCMessage *request, const char *name)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(request->descriptor, name);
    return field && field->type == PROTOBUF_C_TYPE_STRING
               ? *(const char *const *)(const void *)((const char *)request + field->offset)
               : NULL;
}

/* The request's volume, by the field's name (one that is to be made has no id yet): "" when the message has none or it is not
 * fit to be shown. */
static const char *volume_of(const ProtobufCMessage *request)
{
    struct err ignored = ERR_INIT;
    const char *id = request ? text_of(request, "volume_id") : NULL;
    if (request && !id)
        id = text_of(request, "name");
    return id && volume_id_check(id, &ignored) == 0 ? id : "";
}

static bool may_log(struct dispatch *dispatch, const char *method, const char *volume, bool failed, unsigned *left_out)
{
    bool pass = true;
    pthread_mutex_lock(&dispatch->locked.mutex);
    if (failed)
        pass = log_limit_pass(&dispatch->locked.limit, method, volume, clock_monotonic_ms(), left_out);
    else
        log_limit_forget(&dispatch->locked.limit, method, volume);
    pthread_mutex_unlock(&dispatch->locked.mutex);
    return pass;
}

static void log_call(const struct bound *bound, const char *volume, int64_t took_ms, const struct err *err)
{
    bool failed = err->code != ERR_NONE;
    unsigned left_out = 0;
    char took[24];
    char count[24];
    if (!may_log(bound->dispatch, bound->method->name, volume, failed, &left_out))
        return;
    snprintf(took, sizeof(took), "%lld", (long long)took_ms);
    snprintf(count, sizeof(count), "%u", left_out);
    enum log_level level = failed                      ? err->code == ERR_BUSY ? LOG_INFO : LOG_WARNING
                           : bound->method->is_routine ? LOG_DEBUG
                                                       : LOG_INFO;
    log_event(level, "rpc", "method", bound->method->name, "volume", volume[0] ? volume : NULL, "code",
              failed ? err_code_name(err->code) : "OK", "ms", took, "repeated", left_out ? count : NULL, "error",
              failed ? err->message : NULL, NULL);
}

static int handle(void *service, const struct rpc_call *call, struct str *reply, struct err *err)
{
    const struct bound *bound = service;
    int64_t start_ms = clock_monotonic_ms();
    struct err cause = ERR_INIT;
    _cleanup_(message_freep) ProtobufCMessage *request =
        message_unpack(bound->method->request, call->request, call->request_len, &cause);
    if (request)
        bound->method->run(bound->service, request, call, reply, &cause);
    int64_t took_ms = clock_monotonic_ms() - start_ms;
    log_call(bound, volume_of(request), took_ms, &cause);
    metrics_observe(bound->dispatch->metrics, METRIC_OPERATIONS, (double)took_ms / 1000, bound->dispatch->driver_name,
                    bound->method->name, grpc_status_label(status_from_err(cause.code)), NULL);
    if (cause.code == ERR_NONE)
        return 0;
    *err = cause;
    return -1;
}

static void add(struct dispatch *dispatch, const struct dispatch_service *service)
{
    for (size_t i = 0; i < service->count; i++) {
        const struct dispatch_method *method = &service->methods[i];
        struct bound *bound = &dispatch->bound[dispatch->count];
        *bound = (struct bound){dispatch, method, service->service};
        dispatch->methods[dispatch->count++] =
            (struct rpc_method){.name = method->name, .handler = handle, .service = bound, .quick = method->quick};
    }
}

struct dispatch *dispatch_new(const struct dispatch_service *services, size_t count, const char *driver_name,
                              struct metrics *metrics)
{
    struct dispatch *dispatch = mem_alloc(sizeof(*dispatch));
    size_t methods = 0;
    dispatch->driver_name = driver_name;
    dispatch->metrics = metrics;
    for (size_t i = 0; i < count; i++)
        methods += services[i].count;
    dispatch->bound = mem_calloc(methods, sizeof(struct bound));
    dispatch->methods = mem_calloc(methods, sizeof(struct rpc_method));
    pthread_mutex_init(&dispatch->locked.mutex, NULL);
    for (size_t i = 0; i < count; i++)
        add(dispatch, &services[i]);
    return dispatch;
}

void dispatch_free(struct dispatch *dispatch)
{
    if (!dispatch)
        return;
    pthread_mutex_destroy(&dispatch->locked.mutex);
    free(dispatch->methods);
    free(dispatch->bound);
    free(dispatch);
}

const struct rpc_method *dispatch_methods(const struct dispatch *dispatch, size_t *count)
{
    *count = dispatch->count;
    return dispatch->methods;
}
