/* What the files of this layer share about struct mounts. */
#pragma once

#include "mount/mounts.h"
#include "mount/runner.h"

/* As runner_run. */
int mounts_job_run(struct mounts *mounts, const struct job *job, struct job_result *out, struct err *err);

/* Unmounts everything at target and below, plain first, then lazily; nothing mounted is fine. */
int mounts_unmount(struct mounts *mounts, const char *bucket, const char *target, int64_t deadline_ms, struct err *err);

/* The name of a bucket for everything over the mounted file system of fd: found without touching it. */
void mounts_bucket_of(int fd, char out[32]);
