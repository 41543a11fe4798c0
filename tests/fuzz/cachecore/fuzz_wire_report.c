/* Bytes that the plugin might get from a fetcher that was taken over. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "cachecore/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = ERR_INIT;
    struct wire_report report;
    if (wire_report_parse(data, size, &report, &err) != 0) {
        assert(err.code == ERR_CORRUPT);
        return 0;
    }
    if (report.kind == WIRE_FAILED) {
        assert(report.failure.code != ERR_NONE);
        assert(str_is_utf8(report.failure.message, strlen(report.failure.message)));
        for (const char *at = report.failure.message; *at; at++)
            assert((unsigned char)*at >= 0x20 && *at != 0x7f);
    }
    struct str packet = STR_INIT;
    wire_report_pack(&report, &packet);
    assert(wire_report_parse(packet.data, packet.len, &report, &err) == 0);
    str_deinit(&packet);
    return 0;
}
