#include "csi/volume_id.h"

#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "cachecore/digest.h"

int volume_id_check(const char *volume_id, struct err *err)
{
    size_t len = strlen(volume_id);
    size_t fit = strspn(volume_id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:@-");
    if (len == 0 || len > VOLUME_ID_MAX || fit != len || !isalnum((unsigned char)volume_id[0]))
        return err_set(err, ERR_INVALID,
                       "volume_id must be 1 to %d letters, digits, '.', '_', ':', '@' or '-', a letter or digit first",
                       VOLUME_ID_MAX);
    return 0;
}

bool volume_id_is_inline(const char *volume_id)
{
    uint8_t digest[SHA256_LEN];
    return str_starts_with(volume_id, "csi-") && str_unhex(volume_id + strlen("csi-"), digest, SHA256_LEN) == 0;
}
