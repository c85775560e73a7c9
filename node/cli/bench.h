/* bastide bench: the load generator's command. See cmd.h for the convention;
 * `bastide bench --help` for its use. */
#ifndef BASTIDE_CLI_BENCH_H
#define BASTIDE_CLI_BENCH_H

int cmd_bench(int argc, char **argv);

#endif
