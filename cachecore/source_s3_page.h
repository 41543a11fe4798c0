/*
 * One page of a bucket's listing: the body of an answer to ListObjectsV2 with encoding-type=url, parsed as it streams in and gone through once it
 * is complete (servers say only at its end whether keys are encoded). For source_s3_list.c and the tests.
 */
#pragma once

#include "cachecore/source.h"

#define S3_PAGE_KEYS_MAX 1000u /* to be asked for: more is not given */

struct s3_page;

struct s3_page *s3_page_new(void);
void s3_page_free(struct s3_page *page);
DEFINE_CLEANUP(struct s3_page *, s3_page_free);

/* ERR_PRECONDITION: not such a document. */
int s3_page_feed(struct s3_page *page, const void *data, size_t len, struct err *err);

/* That was all: calls back for each object, then for each common prefix (ask->each_prefix may be NULL). *next as source's list. */
int s3_page_finish(struct s3_page *page, const struct source_page *ask, struct arena *arena, const char **next,
                   struct err *err);
