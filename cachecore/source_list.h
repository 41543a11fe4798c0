/* The sources that there are: one line for each source_<kind>.c; source.c holds the table. */
#pragma once

#include "cachecore/source.h"

extern const struct source source_az;
extern const struct source source_gs;
extern const struct source source_http;
extern const struct source source_s3;
