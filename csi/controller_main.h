/* `sharedcache controller`: the plugin beside the external-provisioner. argv[1] is "controller". Runs until SIGTERM or SIGINT; exit
 * status 78 for a wrong configuration. */
#pragma once

int controller_main(int argc, char **argv);
