// Orders in a document store of several regions. What makes them live through
// the loss of one is here: which SDK settings, what is repeated and why that is
// safe.
import { Agent } from "node:https";
import { setTimeout as delay } from "node:timers/promises";
import { CosmosClient } from "@azure/cosmos";

// Longer than a failover takes (5 s), shorter than a caller waits.
const PATIENCE_MS = 10_000;
const PAUSE_MS = 200;

/** Whether trying again may help: nobody answered (the SDK does not repeat
 *  writes after a lost connection), or the answer says "not now". */
const passes = (error) =>
  [408, 429, 449, 503].includes(error.code) || (error.code === 403 && [3, 1008].includes(error.substatus)) ||
  /ECONN|EPIPE|ETIMEDOUT|socket hang up|Timeout|aborted|terminated|Premature close/i.test(`${error.code} ${error.name} ${error.message}`);

/** The store has not answered for PATIENCE_MS: a caller may try later. */
export class Unavailable extends Error {}

async function patiently(attempt, also = () => false) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (!passes(error) && !also(error)) throw error;
      if (Date.now() + PAUSE_MS > end) throw new Unavailable(error.message, { cause: error });
      await delay(PAUSE_MS);
    }
  }
}

const unless = (status) => (error) => {
  if (error.code !== status) throw error;
};

export class Orders {
  /** regions: where to read and write, the nearest first. ca: of the cluster,
   *  undefined where the certificates are public. level: weaker than the
   *  account's, or undefined. */
  constructor({ endpoint, key, ca, regions, level }) {
    // Connections are kept: a TLS handshake costs more than a read.
    this.agent = new Agent({ keepAlive: true, maxSockets: 50, ca });
    this.client = new CosmosClient({
      endpoint, key, agent: this.agent,
      // Without it the JavaScript SDK sends no session tokens.
      ...(level ? { consistencyLevel: level } : {}),
      connectionPolicy: {
        preferredLocations: regions,
        enableEndpointDiscovery: true,
        // A region that hangs must not hold a request for the default, 60 s.
        requestTimeout: 3000,
        // 429: the SDK waits as long as the answer says, and asks again.
        retryOptions: { maxRetryAttemptCount: 9, maxWaitTimeInSeconds: 5 },
      },
    });
    this.container = this.client.database("shop").container("orders");
  }

  async prepare() {
    await patiently(async () => {
      const { database } = await this.client.databases.createIfNotExists({ id: "shop" });
      await database.containers.createIfNotExists({ id: "orders", partitionKey: { paths: ["/customer"] } });
    }, (error) => error.code === 409); // another instance was faster: look again
  }

  /** The caller chose the id, so that an order whose answer was lost can be sent
   *  again, by us or by the caller, without becoming two. false: there is another
   *  order with this id. */
  async create(order) {
    const response = await patiently(() => this.container.items.create(order).catch(unless(409)));
    if (response) return { session: response.headers["x-ms-session-token"] };
    const { order: there } = (await this.read(order.customer, order.id)) ?? {};
    return there && Object.keys(order).every((name) => JSON.stringify(there[name]) === JSON.stringify(order[name])) ? {} : false;
  }

  /** { order, session } or undefined. `session`: a token of an earlier answer,
   *  whose state the reader wants to see at least. */
  async read(customer, id, session) {
    const options = session ? { sessionToken: session } : {};
    const { resource, headers } = await patiently(() => this.container.item(id, customer).read(options));
    return resource && { order: clean(resource), session: headers["x-ms-session-token"] };
  }

  /** Setting the same status twice is setting it once: safe to repeat. */
  async setStatus(customer, id, status) {
    return patiently(async () => {
      const item = this.container.item(id, customer);
      const { resource } = await item.read();
      if (!resource) return false;
      await item.replace({ ...resource, status }, { accessCondition: { type: "IfMatch", condition: resource._etag } });
      return true;
    }, (error) => error.code === 412); // somebody was faster: look again
  }

  /** Gone is gone, whoever did it. */
  async remove(customer, id) {
    await patiently(() => this.container.item(id, customer).delete().catch(unless(404)));
  }

  async list(customer) {
    const { resources } = await patiently(() =>
      this.container.items.readAll({ partitionKey: customer }).fetchAll());
    return resources.map(clean);
  }

  close() {
    this.client.dispose();
    this.agent.destroy();
  }
}

const clean = (document) => Object.fromEntries(Object.entries(document).filter(([name]) => !name.startsWith("_")));
