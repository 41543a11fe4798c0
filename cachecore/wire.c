#include "cachecore/wire.h"

#include <string.h>

#include "cachecore/proto/fetcher.pb-c.h"

static void progress_fill(const struct wire_report *report, Fetcher__Progress *out)
{
    out->stage = (uint32_t)report->stage;
    out->bytes_done = report->bytes_done;
    out->bytes_total = report->bytes_total;
    out->bytes_fetched = report->bytes_fetched;
    out->inputs = report->inputs;
    out->store_size_bytes = report->store_size_bytes;
    out->store_free_bytes = report->store_free_bytes;
}

void wire_report_pack(const struct wire_report *report, struct str *out)
{
    Fetcher__Report message;
    fetcher__report__init(&message);
    Fetcher__Hello hello;
    fetcher__hello__init(&hello);
    Fetcher__Progress progress;
    fetcher__progress__init(&progress);
    Fetcher__Done done;
    fetcher__done__init(&done);
    Fetcher__Failed failed;
    fetcher__failed__init(&failed);
    message.version = WIRE_VERSION;
    progress.job = done.job = failed.job = report->job;
    if (report->kind == WIRE_HELLO) {
        message.body_case = FETCHER__REPORT__BODY_HELLO;
        message.hello = &hello;
    } else if (report->kind == WIRE_PROGRESS) {
        progress_fill(report, &progress);
        message.body_case = FETCHER__REPORT__BODY_PROGRESS;
        message.progress = &progress;
    } else if (report->kind == WIRE_DONE) {
        message.body_case = FETCHER__REPORT__BODY_DONE;
        message.done = &done;
    } else {
        failed.code = (char *)(uintptr_t)err_code_name(report->failure.code);
        failed.message = (char *)(uintptr_t)report->failure.message;
        message.body_case = FETCHER__REPORT__BODY_FAILED;
        message.failed = &failed;
    }
    size_t len = fetcher__report__get_packed_size(&message);
    str_reserve(out, len);
    fetcher__report__pack(&message, (uint8_t *)out->data + out->len);
    out->len += len;
    out->data[out->len] = '\0';
}

/* A message ends up in events and logs: one line of printable text, whatever the other side wrote. */
static void failure_read(const Fetcher__Failed *failed, struct err *out)
{
    err_set(out, err_code_parse(failed->code ? failed->code : ""), "%s", failed->message ? failed->message : "");
    if (out->code == ERR_NONE)
        out->code = ERR_INTERNAL;
    if (!str_is_utf8(out->message, strlen(out->message))) {
        for (char *at = out->message; *at; at++)
            *at = (unsigned char)*at < 0x80 ? *at : '?';
    }
    for (char *at = out->message; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = ' ';
    }
}

static int progress_read(const Fetcher__Progress *progress, struct wire_report *out, struct err *err)
{
    if (progress->stage > FILL_DONE)
        return err_set(err, ERR_CORRUPT, "the fetcher reports an unknown stage");
    *out = (struct wire_report){.kind = WIRE_PROGRESS,
                                .job = progress->job,
                                .stage = (enum fill_stage)progress->stage,
                                .bytes_done = progress->bytes_done,
                                .bytes_total = progress->bytes_total,
                                .bytes_fetched = progress->bytes_fetched,
                                .inputs = progress->inputs,
                                .store_size_bytes = progress->store_size_bytes,
                                .store_free_bytes = progress->store_free_bytes};
    return 0;
}

static int report_read(const Fetcher__Report *message, struct wire_report *out, struct err *err)
{
    if (message->version != WIRE_VERSION)
        return err_set(err, ERR_CORRUPT, "the fetcher speaks version %u, this program %u: restart the plugin",
                       message->version, WIRE_VERSION);
    switch (message->body_case) {
    case FETCHER__REPORT__BODY_HELLO:
        *out = (struct wire_report){.kind = WIRE_HELLO};
        return 0;
    case FETCHER__REPORT__BODY_PROGRESS:
        return progress_read(message->progress, out, err);
    case FETCHER__REPORT__BODY_DONE:
        *out = (struct wire_report){.kind = WIRE_DONE, .job = message->done->job};
        return 0;
    case FETCHER__REPORT__BODY_FAILED:
        *out = (struct wire_report){.kind = WIRE_FAILED, .job = message->failed->job};
        failure_read(message->failed, &out->failure);
        return 0;
    default:
        return err_set(err, ERR_CORRUPT, "the fetcher's report is of no known kind");
    }
}

int wire_report_parse(const void *data, size_t len, struct wire_report *out, struct err *err)
{
    Fetcher__Report *message = len <= WIRE_PACKET_MAX ? fetcher__report__unpack(NULL, len, data) : NULL;
    if (!message)
        return err_set(err, ERR_CORRUPT, "the fetcher's report is no message of ours");
    int result = report_read(message, out, err);
    fetcher__report__free_unpacked(message, NULL);
    return result;
}
