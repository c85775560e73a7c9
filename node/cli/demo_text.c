#include "node/cli/demo_text.h"

#include <errno.h>

const char demo_help[] =
    "Usage: bastide demo [--dir DIR] [options]\n"
    "       bastide demo [--dir DIR] --start NODE [--rebuild [--yes]] | "
    "--stop\n"
    "\n"
    "Runs a whole cluster on this machine, one process per node, in the\n"
    "foreground until Ctrl-C. DIR keeps its data, keys and certificates; the\n"
    "next start finds them. When every node is ready, DIR/cluster.json says "
    "how\n"
    "to reach it.\n"
    "\n"
    "  --dir DIR              where it lives (default ./demo), made if "
    "missing\n"
    "  --regions A,B,C        regions of a new cluster, first choice for "
    "writes\n"
    "                         first (default eastus,westeurope,southeastasia)\n"
    "  --nodes-per-region N   of a new cluster, 1 to 9 (default 1)\n"
    "  --shards N             of a new cluster (default 2)\n"
    "  --latency A:B=80ms,..  round trips to imitate between regions; 80ms "
    "alone is\n"
    "                         for all pairs; world is what was measured "
    "between\n"
    "                         the Azure regions of these names (20 are known;\n"
    "                         docs/configuration.md). Later ones win\n"
    "  --consistency LEVEL    of a new cluster: strong (default),\n"
    "                         bounded[,K=entries][,T=seconds], session, "
    "prefix\n"
    "                         or eventual\n"
    "  --base-port P|auto     the account endpoint's port (default 8081); the\n"
    "                         others are P+1.., P+10.., P+1010.., P+2010..;\n"
    "                         auto takes the first P that is free\n"
    "  --detach               return when it is ready, leave it running\n"
    "  --start NODE,...|all   start nodes that ended, in the running cluster\n"
    "  --rebuild              with --start: put the node's damaged data away "
    "and\n"
    "                         get it anew from the others\n"
    "  --yes                  with --rebuild: also if no damage was found\n"
    "  --stop                 end the cluster that runs in DIR\n"
    "  -o text|json           json prints cluster.json instead of the account\n"
    "\n"
    "Examples:\n"
    "  bastide demo                           three regions, until Ctrl-C\n"
    "  bastide demo --dir two --regions east,west --base-port 9000 --detach\n"
    "  bastide demo --dir far --latency world --consistency session\n"
    "  bastide demo --dir eu --regions westeurope,uksouth,swedencentral "
    "--latency world\n"
    "  bastide status --dir two               who leads what\n"
    "  kill -9 PID                            lose a node, see what happens\n"
    "  bastide demo --dir two --start east-1  bring it back\n"
    "  bastide demo --dir two --stop\n";

static void print_endpoints(FILE *out, const struct layout *l,
                            const pid_t *pids)
{
    char url[LAYOUT_URL_MAX + 1];
    layout_url(l->host, l->port, url);
    fprintf(out, "  %-16s %-26s any node answers here\n", "account", url);
    for (unsigned i = 0; i < l->region_count; i++) {
        layout_url(l->regions[i].host, l->regions[i].port, url);
        fprintf(out, "  %-16s %-26s", l->regions[i].name, url);
        for (unsigned j = 0; j < l->node_count; j++) {
            if (l->nodes[j].region != i)
                continue;
            layout_url(l->nodes[j].host, l->nodes[j].port, url);
            fprintf(out, " %s (pid %d, %s)", l->nodes[j].name, (int)pids[j],
                    url);
        }
        fputc('\n', out);
    }
}

static void print_snippet(FILE *out, const struct layout *l, const char *dir)
{
    fprintf(out,
            "Connect from Node.js: npm install @azure/cosmos, save this as "
            "try.mjs, run node try.mjs\n"
            "\n"
            "  import { readFileSync } from \"node:fs\";\n"
            "  import { Agent } from \"node:https\";\n"
            "  import { CosmosClient } from \"@azure/cosmos\";\n"
            "\n"
            "  const demo = JSON.parse(readFileSync(\"%s/cluster.json\"));\n"
            "  const agent = new Agent({ ca: readFileSync(demo.ca), keepAlive: "
            "true });\n"
            "  const connect = (region) => new CosmosClient({\n"
            "    endpoint: demo.endpoint, key: demo.primaryKey, agent,\n"
            "    connectionPolicy: { preferredLocations: [region] } });\n"
            "\n"
            "  const { database } = await connect(\"%s\")"
            ".databases.createIfNotExists({ id: \"shop\" });\n"
            "  const { container } = await "
            "database.containers.createIfNotExists(\n"
            "    { id: \"orders\", partitionKey: { paths: [\"/customer\"] } "
            "});\n"
            "  await container.items.upsert({ id: \"1\", customer: \"ada\", "
            "total: 42 });\n"
            "\n"
            "  const there = connect(\"%s\")"
            ".database(\"shop\").container(\"orders\");\n"
            "  console.log((await there.item(\"1\", \"ada\").read())"
            ".resource);\n"
            "  process.exit();\n",
            dir, l->regions[0].name, l->regions[l->region_count - 1].name);
}

void demo_print_account(FILE *out, const struct layout *l, const char *dir,
                        const struct config_account_keys *keys,
                        const pid_t *pids, usec_t took_us, bool attached)
{
    const char *program = program_invocation_name;
    fprintf(out,
            "\nCluster %s is ready: %u regions, %u nodes, after %lld.%02lld "
            "s.\n\n",
            l->cluster, l->region_count, l->node_count,
            (long long)(took_us / USEC_PER_SEC),
            (long long)(took_us % USEC_PER_SEC / 10000));
    print_endpoints(out, l, pids);
    fprintf(out,
            "\n"
            "  CA certificate   %s/ca.pem\n"
            "  primary key      %s\n"
            "  read-only key    %s\n"
            "  as JSON          %s/cluster.json\n"
            "\n",
            dir, keys->text[CONFIG_KEY_PRIMARY],
            keys->text[CONFIG_KEY_PRIMARY_READONLY], dir);
    print_snippet(out, l, dir);
    fprintf(out,
            "\n"
            "Watch            %s status --dir %s\n"
            "Lose a node      kill -9 %d   (%s; clients of the account "
            "endpoint go on)\n"
            "Bring it back    %s demo --dir %s --start %s\n"
            "Stop             %s%s demo --dir %s --stop\n",
            program, dir, (int)pids[0], l->nodes[0].name, program, dir,
            l->nodes[0].name, attached ? "Ctrl-C, or " : "", program, dir);
    fflush(out);
}
