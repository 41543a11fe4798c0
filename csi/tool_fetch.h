/*
 * `sharedcache fetch URL... --into DIR`: the cache without Kubernetes. The same engine in this process, a store in DIR/.sharedcache
 * (or --store), the files in DIR. Exit status: 0; 1 failed; 2 wrong use or wrong input; 3 not allowed; 4 not there; 5 a limit
 * or a disk is full; 75 try again later; 130 interrupted.
 */
#pragma once

int tool_fetch_main(int argc, char **argv); /* argv[1] is "fetch" */
