#include "csi/progress.h"

#include <string.h>

static bool stage_moves_bytes(enum fill_stage stage)
{
    return stage == FILL_FETCHING || stage == FILL_COPYING;
}

void progress_add(struct progress *progress, const struct wire_report *report, int64_t now_ms)
{
    /* What the cache already had arrives with the first report of a stage: it says nothing of the rate. */
    if (report->stage != progress->last.stage || report->bytes_done < progress->last.bytes_done)
        progress->count = 0;
    progress->last = *report;
    if (!stage_moves_bytes(report->stage))
        return;
    if (progress->count == PROGRESS_SAMPLES) {
        memmove(progress->samples, progress->samples + 1, sizeof(progress->samples) - sizeof(progress->samples[0]));
        progress->count--;
    }
    progress->samples[progress->count].at_ms = now_ms;
    progress->samples[progress->count].bytes = report->bytes_done;
    progress->count++;
}

double progress_rate(const struct progress *progress, int64_t now_ms)
{
    if (progress->count == 0)
        return 0;
    unsigned first = 0;
    while (first + 1 < progress->count && progress->samples[first].at_ms < now_ms - PROGRESS_WINDOW_MS)
        first++;
    int64_t elapsed_ms = now_ms - progress->samples[first].at_ms;
    uint64_t bytes = progress->last.bytes_done - progress->samples[first].bytes;
    return elapsed_ms > 0 ? (double)bytes * 1000.0 / (double)elapsed_ms : 0;
}

/* "41.2 of 141.0 GiB": both in the unit of the larger. */
static void amounts_text(uint64_t done, uint64_t total, struct str *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double scale = 1;
    size_t unit = 0;
    while ((double)total / scale >= 1024 && unit < 6) {
        scale *= 1024;
        unit++;
    }
    if (unit == 0)
        str_printf(out, "%u of %u B", (unsigned)done, (unsigned)total);
    else
        str_printf(out, "%.1f of %.1f %s", (double)done / scale, (double)total / scale, units[unit]);
}

static void time_text(double seconds, struct str *out)
{
    if (seconds < 1)
        str_append_text(out, "about 1 s left");
    else if (seconds < 90)
        str_printf(out, "about %.0f s left", seconds);
    else if (seconds < 90 * 60)
        str_printf(out, "about %.0f min left", seconds / 60);
    else if (seconds < 48.0 * 3600)
        str_printf(out, "about %.0f h left", seconds / 3600);
    else
        str_printf(out, "about %.0f days left", seconds / 86400);
}

static void bytes_text(const struct progress *progress, int64_t now_ms, struct str *out)
{
    uint64_t total = progress->last.bytes_total;
    uint64_t done = progress->last.bytes_done < total ? progress->last.bytes_done : total;
    double rate = progress_rate(progress, now_ms);
    str_append_text(out, progress->last.stage == FILL_COPYING ? "copied to the node " : "cached ");
    amounts_text(done, total, out);
    str_printf(out, " (%u percent)", total > 0 ? (unsigned)((double)done / (double)total * 100) : 100u);
    if (rate < 1) {
        if (done < total)
            str_append_text(out, ", waiting for the source");
        return;
    }
    char human[16];
    str_human_bytes((uint64_t)rate, human);
    str_printf(out, ", %s/s, ", human);
    time_text((double)(total - done) / rate, out);
}

void progress_text(const struct progress *progress, int64_t now_ms, struct str *out)
{
    unsigned inputs = progress->last.inputs;
    if (stage_moves_bytes(progress->last.stage) && progress->last.bytes_total > 0)
        bytes_text(progress, now_ms, out);
    else if (progress->last.stage == FILL_DONE)
        str_append_text(out, "cached; handing over the list");
    else if (stage_moves_bytes(progress->last.stage))
        str_printf(out, "fetching %u input%s of unknown size", inputs, inputs == 1 ? "" : "s");
    else if (inputs == 0)
        str_append_text(out, "asking the sources");
    else
        str_printf(out, "asking the sources about %u input%s", inputs, inputs == 1 ? "" : "s");
}
