/* `sharedcache ls [--store DIR]`: the complete snapshots of a store: id, files, bytes, last used, description. Exit status: 0, 1 on an
 * error, 2 on wrong use. */
#pragma once

int tool_ls_main(int argc, char **argv); /* argv[1] is "ls" */
