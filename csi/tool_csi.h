/*
 * `sharedcache csi <Method> ...`: one CSI call from the command line, to try a plugin without Kubernetes. `sharedcache csi --help`
 * tells the options. Exit status: 0 answered OK, 1 answered with an error, 2 wrong use, 3 no answer.
 */
#pragma once

int tool_csi_main(int argc, char **argv); /* argv[1] is "csi" */
