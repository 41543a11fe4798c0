/*
 * Named crash points, for the tests that kill the program at a given step. In builds with SC_CRASH_POINTS the
 * environment variable SHAREDCACHE_CRASH_AT names one point, and the process that reaches it sends itself SIGKILL (after
 * creating the file named by SHAREDCACHE_CRASH_HIT, so that a test can tell that it was hit; the file also makes the
 * point fire once only). In other builds it is nothing at all. Names are "<stage>.<step>", listed in tests/crash.
 */
#pragma once

#ifdef SC_CRASH_POINTS
void crash_point(const char *name);
#else
#define crash_point(name) ((void)0)
#endif
