// The service: orders over HTTP.
//
//   GET    /healthz                  200 while the process is well; asks nobody
//   GET    /readyz                   200 if the store answers
//   GET    /orders/CUSTOMER          all of a customer
//   POST   /orders/CUSTOMER          {"id","total",...}: 201, again with the same order, too; 409
//   GET    /orders/CUSTOMER/ID       200 or 404
//   PATCH  /orders/CUSTOMER/ID       {"status"}: 200 or 404
//   DELETE /orders/CUSTOMER/ID       204
//
// 503 with Retry-After when the store has not answered for 10 s. Answers carry
// x-session-token; sent along with a later read, in whichever region, it makes
// the answer at least as new.
import { readFileSync } from "node:fs";
import http from "node:http";
import { fileURLToPath } from "node:url";
import { Orders, Unavailable } from "./store.mjs";

const BODY_MAX = 64 * 1024;

async function bodyOf(request) {
  let text = "";
  for await (const part of request) {
    text += part;
    if (text.length > BODY_MAX) throw new SyntaxError("too long");
  }
  const body = JSON.parse(text);
  if (typeof body !== "object" || body === null) throw new SyntaxError("expected an object");
  return body;
}

/** [status, body, session token] */
async function answer(orders, request) {
  const [, root, customer, id] = new URL(request.url, "http://localhost").pathname.split("/").map(decodeURIComponent);
  if (root === "healthz") return [200, { status: "up" }];
  if (root === "readyz") {
    await orders.read("nobody", "nothing");
    return [200, { status: "ready" }];
  }
  if (root !== "orders" || !customer) return [404];
  switch (`${request.method} ${id ? "one" : "all"}`) {
    case "GET all":
      return [200, await orders.list(customer)];
    case "POST all": {
      const made = await orders.create({ status: "new", ...(await bodyOf(request)), customer });
      return made ? [201, undefined, made.session] : [409];
    }
    case "GET one": {
      const found = await orders.read(customer, id, request.headers["x-session-token"]);
      return found ? [200, found.order, found.session] : [404];
    }
    case "PATCH one":
      return [(await orders.setStatus(customer, id, (await bodyOf(request)).status)) ? 200 : 404];
    case "DELETE one":
      await orders.remove(customer, id);
      return [204];
    default:
      return [405];
  }
}

export function serve(orders) {
  return http.createServer(async (request, response) => {
    let status, body, session;
    try {
      [status, body, session] = await answer(orders, request);
    } catch (error) {
      if (error instanceof SyntaxError) [status, body] = [400, { message: error.message }];
      else if (error instanceof Unavailable) [status, body] = [503, { message: "try again" }];
      else {
        console.error(error);
        [status, body] = [500, { message: "internal error" }];
      }
    }
    response.writeHead(status, {
      "content-type": "application/json",
      ...(status === 503 ? { "retry-after": "1" } : {}),
      ...(session ? { "x-session-token": session } : {}),
    });
    response.end(body === undefined ? "" : JSON.stringify(body));
  });
}

// node orders.mjs: STORE_ENDPOINT, STORE_KEY, STORE_CA, STORE_REGIONS=a,b,c, STORE_LEVEL, PORT
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { STORE_ENDPOINT: endpoint, STORE_KEY: key, STORE_CA: ca, STORE_REGIONS: regions, STORE_LEVEL: level, PORT: port } = process.env;
  const orders = new Orders({ endpoint, key, ca: ca && readFileSync(ca), regions: regions?.split(",") ?? [], level });
  await orders.prepare();
  const server = serve(orders).listen(Number(port ?? 0), "127.0.0.1", () => console.log(`orders on port ${server.address().port}`));
  process.once("SIGTERM", () => server.close(() => orders.close()));
}
