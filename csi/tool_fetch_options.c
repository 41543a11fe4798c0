#include "csi/tool_fetch_options.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/fs.h"

#define DRIVER_NAME "csi.sharedcache.io"
#define SECRETS_MAX ((size_t)64 << 10)

const char tool_fetch_usage[] =
    "usage: sharedcache fetch URL... --into DIR [options]\n"
    "\n"
    "Downloads the objects into DIR through a cache: what is there already is not downloaded again. Each URL may be\n"
    "a whole input line: 's3://bucket/key -> place/in/DIR sha256=...'. Files are clones of the cache's objects where "
    "the\n"
    "file system can do that, else read-only links to them, else copies.\n"
    "\n"
    "  --into DIR           where the files go\n"
    "  --inputs FILE        a list of inputs, one a line, instead of or beside URLs\n"
    "  --sha256 HEX         what the one URL's bytes must be\n"
    "  --store DIR          the cache (default: .sharedcache in DIR)\n"
    "  --secrets-file FILE  credentials, one KEY=VALUE a line (AWS_ACCESS_KEY_ID, username, token, ...)\n"
    "  --class FILE         JSON of a StorageClass: its allowed sources, addresses, CA bundle, endpoint, limits\n"
    "\n"
    "exit status: 0 done, 1 failed, 2 wrong use, 3 not allowed, 4 not there, 5 full, 75 try again later, 130 "
    "interrupted\n";

static int file_read(const char *path, size_t max, struct str *out, struct err *err)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_NONE, errno, "cannot open '%s'", path);
    return fs_read_fd(fd, max, out, err) == 0 ? 0 : err_prefix(err, "'%s'", path);
}

static int inputs_add_file(const char *path, struct str *inputs, struct err *err)
{
    if (file_read(path, INPUTS_BYTES_MAX, inputs, err) != 0)
        return -1;
    str_append_char(inputs, '\n');
    return 0;
}

static int input_add(const char *line, struct str *inputs, struct err *err)
{
    if (strpbrk(line, "\r\n"))
        return err_set(err, ERR_INVALID, "a URL holds a line break; use --inputs for lists");
    str_append_text(inputs, line);
    str_append_char(inputs, '\n');
    return 0;
}

static int class_read(const char *path, struct arena *arena, struct class *out, struct err *err)
{
    struct str text = STR_INIT;
    int result = file_read(path, CLASS_JSON_MAX, &text, err);
    if (result == 0)
        result = class_parse_json(arena, text.data ? text.data : "", text.len, DRIVER_NAME, out, err);
    str_deinit(&text);
    return result;
}

/* One KEY=VALUE a line; blank lines and lines with '#' in front do not count. */
static int secrets_parse(char *text, struct secret_map *out, struct err *err)
{
    unsigned number = 0;
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        number++;
        size_t len = strcspn(line, "\r");
        const char *equals = memchr(line, '=', len);
        if (len == 0 || line[0] == '#')
            continue;
        if (!equals || equals == line)
            return err_set(err, ERR_INVALID, "line %u is not KEY=VALUE", number);
        _cleanup_(freep) char *key = strndup(line, (size_t)(equals - line));
        secret_map_add(out, key, equals + 1, (size_t)(line + len - equals - 1));
    }
    return 0;
}

static int secrets_read(const char *path, struct secret_map *out, struct err *err)
{
    struct str text = STR_INIT;
    str_reserve(&text, SECRETS_MAX); /* so that growing leaves no copies behind */
    int result = file_read(path, SECRETS_MAX, &text, err);
    if (result == 0 && secrets_parse(text.data, out, err) != 0)
        result = err_prefix(err, "'%s'", path);
    explicit_bzero(text.data, text.capacity);
    str_deinit(&text);
    return result;
}

static int option_take(const char *name, const char *value, struct arena *arena, struct tool_fetch_options *out,
                       const char **sha256, struct err *err)
{
    if (strcmp(name, "--into") == 0)
        out->into = value;
    else if (strcmp(name, "--store") == 0)
        out->store = value;
    else if (strcmp(name, "--sha256") == 0)
        *sha256 = value;
    else if (strcmp(name, "--inputs") == 0)
        return inputs_add_file(value, &out->inputs, err);
    else if (strcmp(name, "--secrets-file") == 0)
        return secrets_read(value, &out->secrets, err);
    else if (strcmp(name, "--class") == 0)
        return class_read(value, arena, &out->class, err);
    else
        return err_set(err, ERR_INVALID, "unknown option '%.100s'", name);
    return 0;
}

/* The digest is one more word of the one line. */
static int sha256_add(const char *sha256, size_t lines, struct str *inputs, struct err *err)
{
    if (lines != 1)
        return err_set(err, ERR_INVALID, "--sha256 is for one URL; write sha256=... behind each URL instead");
    inputs->len--;
    str_printf(inputs, " sha256=%s\n", sha256);
    return 0;
}

static int arguments_read(int argc, char **argv, struct arena *arena, struct tool_fetch_options *out, struct err *err)
{
    const char *sha256 = NULL;
    size_t lines = 0;
    for (int i = 2; i < argc; i++) {
        bool is_option = str_starts_with(argv[i], "--");
        if (strcmp(argv[i], "--help") == 0) {
            out->is_help = true;
            return 0;
        }
        if (is_option && i + 1 == argc)
            return err_set(err, ERR_INVALID, "'%.100s' needs a value", argv[i]);
        if (is_option && option_take(argv[i], argv[i + 1], arena, out, &sha256, err) != 0)
            return -1;
        if (!is_option && input_add(argv[i], &out->inputs, err) != 0)
            return -1;
        lines += !is_option;
        i += is_option;
    }
    if (!out->into || out->inputs.len == 0)
        return err_set(err, ERR_INVALID, "%s", out->into ? "no URL is given" : "--into is missing");
    return sha256 ? sha256_add(sha256, lines, &out->inputs, err) : 0;
}

int tool_fetch_options(int argc, char **argv, struct arena *arena, struct tool_fetch_options *out, struct err *err)
{
    *out = (struct tool_fetch_options){.inputs = STR_INIT};
    class_default(&out->class);
    out->class.allowed_addresses = "*"; /* whoever runs this may reach what this machine may reach */
    return arguments_read(argc, argv, arena, out, err);
}

void tool_fetch_options_deinit(struct tool_fetch_options *options)
{
    str_deinit(&options->inputs);
    secret_map_deinit(&options->secrets);
}
