/* What the files of a metadata layer carry; shared by the side that builds them and the helper that mounts them. */
#pragma once

#include "mount/view.h"

#define LAYER_XATTR_METACOPY "trusted.overlay.metacopy"
#define LAYER_XATTR_REDIRECT "trusted.overlay.redirect"
#define LAYER_XATTR_OPAQUE "trusted.overlay.opaque"
#define LAYER_REDIRECT_MAX (VIEW_OBJECT_LEN + 8) /* "/ab/<id>" */

/* The one file of a probe's view. */
#define PROBE_FILE "probe"
#define PROBE_BYTES "sharedcache"
