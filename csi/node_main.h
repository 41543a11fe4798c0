/* `sharedcache node`: the node plugin. argv[1] is "node". Runs until SIGTERM or SIGINT; exit status 78 for a wrong configuration. */
#pragma once

int node_main(int argc, char **argv);
