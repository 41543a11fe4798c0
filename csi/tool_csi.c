#include "csi/tool_csi.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "csi/client.h"
#include "csi/message.h"
#include "csi/message_text.h"
#include "csi/proto/csi.pb-c.h"
#include "csi/tool_request.h"

enum { EXIT_OK, EXIT_ANSWERED, EXIT_USAGE, EXIT_NO_ANSWER };

#define TIMEOUT_DEFAULT "2m"

static const char usage[] =
    "usage: sharedcache csi [--endpoint unix:///PATH.sock] METHOD [OPTION...]\n"
    "One CSI call, as kubelet would make it, to a plugin's socket (default: $CSI_ENDPOINT).\n"
    "\n"
    "  --volume-id ID  --name NAME  --target-path PATH  --staging-path PATH  --volume-path PATH\n"
    "  --attribute KEY=VALUE     a volume attribute (for CreateVolume: a parameter); any number\n"
    "  --secrets-file FILE       secrets, a line each: KEY=VALUE\n"
    "  --secret KEY=@FILE        one secret: the file's content; any number\n"
    "  --ephemeral               an inline volume of a pod\n"
    "  --pod-namespace NAME  --pod-name NAME  --pod-uid UID  --service-account NAME\n"
    "  --readonly                ask for a read-only mount\n"
    "  --access-mode MODE        SINGLE_NODE_WRITER (the default), MULTI_NODE_READER_ONLY and so on\n"
    "  --timeout TIME            30s, 2m (the default), 1h\n"
    "\n"
    "Methods:";

/* What an option does: sets a text field, adds a fixed key to the volume's context, or needs code of its own. */
enum action { FIELD, CONTEXT, ATTRIBUTE, SECRET, SECRETS_FILE, EPHEMERAL, READONLY, MODE, TIMEOUT, ENDPOINT, HELP };

static const struct tool_option {
    const char *name;
    enum action action;
    const char *target;
} tool_options[] = {
    {"volume-id", FIELD, "volume_id"},
    {"name", FIELD, "name"},
    {"target-path", FIELD, "target_path"},
    {"staging-path", FIELD, "staging_target_path"},
    {"volume-path", FIELD, "volume_path"},
    {"pod-namespace", CONTEXT, "csi.storage.k8s.io/pod.namespace"},
    {"pod-name", CONTEXT, "csi.storage.k8s.io/pod.name"},
    {"pod-uid", CONTEXT, "csi.storage.k8s.io/pod.uid"},
    {"service-account", CONTEXT, "csi.storage.k8s.io/serviceAccount.name"},
    {"attribute", ATTRIBUTE, NULL},
    {"secret", SECRET, NULL},
    {"secrets-file", SECRETS_FILE, NULL},
    {"access-mode", MODE, NULL},
    {"timeout", TIMEOUT, NULL},
    {"endpoint", ENDPOINT, NULL},
    {"ephemeral", EPHEMERAL, NULL},
    {"readonly", READONLY, NULL},
    {"help", HELP, NULL},
};

#define OPTION_COUNT (sizeof(tool_options) / sizeof(tool_options[0]))

static const ProtobufCServiceDescriptor *const services[] = {
    &csi__v1__identity__descriptor,
    &csi__v1__controller__descriptor,
    &csi__v1__node__descriptor,
};

#define SERVICE_COUNT (sizeof(services) / sizeof(services[0]))

struct tool_call {
    const ProtobufCMethodDescriptor *method;
    const char *endpoint;
    const char *access_mode;
    int64_t timeout_ms;
    char path[128];
    struct tool_request request;
};

static void print_usage(FILE *to)
{
    fputs(usage, to);
    for (size_t i = 0; i < SERVICE_COUNT; i++) {
        for (unsigned j = 0; j < services[i]->n_methods; j++)
            fprintf(to, "%s%s", j % 5 ? " " : "\n  ", services[i]->methods[j].name);
    }
    fputs("\n", to);
}

static int method_find(struct tool_call *call, const char *name, struct err *err)
{
    for (size_t i = 0; i < SERVICE_COUNT; i++) {
        call->method = protobuf_c_service_descriptor_get_method_by_name(services[i], name);
        if (!call->method)
            continue;
        snprintf(call->path, sizeof(call->path), "/%s/%s", services[i]->name, name);
        call->request.type = call->method->input;
        return 0;
    }
    return err_set(err, ERR_INVALID, "'%s' is no method; see --help", name);
}

static int timeout_parse(const char *text, int64_t *out, struct err *err)
{
    char *unit;
    long value = strtol(text, &unit, 10);
    int64_t scale = strcmp(unit, "s") == 0   ? 1000
                    : strcmp(unit, "m") == 0 ? 60000
                    : strcmp(unit, "h") == 0 ? 3600000
                                             : 0;
    if (value <= 0 || value > 100000 || scale == 0)
        return err_set(err, ERR_INVALID, "%s: a number with s, m or h is wanted", text);
    *out = value * scale;
    return 0;
}

static int apply(struct tool_call *call, const struct tool_option *option, const char *value, struct err *err)
{
    struct tool_request *request = &call->request;
    switch (option->action) {
    case FIELD:
        return tool_request_text(request, option->target, value, err);
    case CONTEXT:
        return tool_request_pair(request, "volume_context", option->target, value, err);
    case ATTRIBUTE:
        return tool_request_attribute(request, value, err);
    case SECRET:
        return tool_request_secret(request, value, err);
    case SECRETS_FILE:
        return tool_request_secrets_file(request, value, err);
    case EPHEMERAL:
        return tool_request_pair(request, "volume_context", "csi.storage.k8s.io/ephemeral", "true", err);
    case READONLY:
        return tool_request_bool(request, "readonly", err);
    case TIMEOUT:
        return timeout_parse(value, &call->timeout_ms, err);
    case MODE:
        call->access_mode = value;
        return 0;
    case ENDPOINT:
        call->endpoint = value;
        return 0;
    case HELP:
        break;
    }
    return err_set(err, ERR_NONE, "help");
}

static void long_options(struct option out[OPTION_COUNT + 1])
{
    for (size_t i = 0; i < OPTION_COUNT; i++)
        out[i] = (struct option){
            .name = tool_options[i].name,
            .has_arg = tool_options[i].action == EPHEMERAL || tool_options[i].action == READONLY ||
                               tool_options[i].action == HELP
                           ? no_argument
                           : required_argument,
            .val = (int)i,
        };
    out[OPTION_COUNT] = (struct option){.name = NULL};
}

/* The method is known before the options are applied: it may stand anywhere among them. */
static int method_argument(int argc, char **argv, const struct option *options, struct tool_call *call, struct err *err)
{
    int found;
    optind = 0;
    opterr = 0;
    while ((found = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (found == '?')
            return err_set(err, ERR_INVALID, "'%s': unknown, or its value is missing; see --help", argv[optind - 1]);
        if (tool_options[found].action == HELP)
            return err_set(err, ERR_NONE, "help");
    }
    if (optind + 1 != argc)
        return err_set(err, ERR_INVALID, "one method is wanted; see --help");
    return method_find(call, argv[optind], err);
}

static int arguments_parse(int argc, char **argv, struct tool_call *call, struct err *err)
{
    struct option options[OPTION_COUNT + 1];
    int found;
    long_options(options);
    if (timeout_parse(TIMEOUT_DEFAULT, &call->timeout_ms, err) != 0 ||
        method_argument(argc, argv, options, call, err) != 0)
        return -1;
    optind = 0;
    while ((found = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (apply(call, &tool_options[found], optarg, err) != 0)
            return err_prefix(err, "--%s", tool_options[found].name);
    }
    if (!call->endpoint)
        return err_set(err, ERR_INVALID, "--endpoint or CSI_ENDPOINT must name the plugin's socket");
    return tool_request_capability(&call->request, call->access_mode, err);
}

static int print_reply(const struct tool_call *call, const struct str *reply, struct err *err)
{
    _cleanup_(str_deinitp) struct str text = STR_INIT;
    ProtobufCMessage *message = message_unpack(call->method->output, (const uint8_t *)reply->data, reply->len, err);
    if (!message)
        return -1;
    message_text(message, &text);
    message_free(message);
    fputs(text.data ? text.data : "", stdout);
    return fflush(stdout) == 0 ? 0 : err_set(err, ERR_INTERNAL, "cannot write the answer");
}

static int call_run(const struct tool_call *call, struct err *err)
{
    struct client_result result;
    _cleanup_(str_deinitp) struct str reply = STR_INIT;
    int64_t deadline_ms = clock_monotonic_ms() + call->timeout_ms;
    _cleanup_(client_closep) struct client *client = client_open(call->endpoint, deadline_ms, err);
    if (!client || client_call(client, call->path, &call->request.bytes, deadline_ms, &reply, &result, err) != 0)
        return EXIT_NO_ANSWER;
    if (result.status == GRPC_OK)
        return print_reply(call, &reply, err) == 0 ? EXIT_OK : EXIT_NO_ANSWER;
    fprintf(stderr, "%s %s\n", grpc_status_name(result.status), result.message);
    return EXIT_ANSWERED;
}

int tool_csi_main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct tool_call call = {.endpoint = getenv("CSI_ENDPOINT"), .request.bytes = STR_INIT};
    int status = EXIT_USAGE;
    if (arguments_parse(argc - 1, argv + 1, &call, &err) == 0)
        status = call_run(&call, &err);
    else if (err.code == ERR_NONE)
        status = EXIT_OK;
    tool_request_deinit(&call.request);
    if (err.code != ERR_NONE)
        fprintf(stderr, "sharedcache csi: %s\n", err.message);
    else if (status == EXIT_OK && !call.method)
        print_usage(stdout);
    return status;
}
