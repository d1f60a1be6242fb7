// What the checks with the official TypeScript libraries of Agent2Agent share: the clients of all bindings, and how a check is made. The environment is that of
// python/a2a_scenario.py. It is copied beside the check, where its libraries are.
import {
  ClientFactory, DefaultAgentCardResolver, JsonRpcTransportFactory, RestTransportFactory,
} from '@a2a-js/sdk/client';
import { GrpcTransportFactory } from '@a2a-js/sdk/client/grpc';
import { InterceptingCall } from '@grpc/grpc-js';

const { PORTCULLIS_URL, PORTCULLIS_AGENT, PORTCULLIS_BINDING } = process.env;
const base = `${PORTCULLIS_URL}/a2a/${PORTCULLIS_AGENT}`;
export const agent = PORTCULLIS_AGENT;
export const context = `claim-js-${PORTCULLIS_BINDING.replace('+', '-').toLowerCase()}`;

export function check(sentence, holds, seen) {
  if (!holds) throw new Error(`${sentence}; saw ${JSON.stringify(seen)}`);
  console.log('ok', sentence);
}

export async function refused(sentence, wait, sign) {
  const error = await wait.then((seen) => ({ message: `no error but ${JSON.stringify(seen)}` }), (error) => error);
  check(sentence, `${error.name} ${error.message}`.includes(sign), `${error.name} ${error.message}`);
}

// A client with this key. By gRPC more may be said of each call.
export async function open(key, more = {}) {
  const said = { authorization: `Bearer ${key}` };
  const fetchImpl = (input, init = {}) => {
    const headers = new Headers(init.headers);
    for (const [name, value] of Object.entries(said)) headers.set(name, value);
    return fetch(input, { ...init, headers });
  };
  const saying = (options, nextCall) => new InterceptingCall(nextCall(options), {
    start(metadata, listener, next) {
      for (const [name, value] of Object.entries({ ...said, ...more })) metadata.set(name, value);
      next(metadata, listener);
    },
  });
  // No other one, so that none is taken in its place.
  const transports = {
    'JSONRPC': () => new JsonRpcTransportFactory({ fetchImpl }),
    'HTTP+JSON': () => new RestTransportFactory({ fetchImpl }),
    'GRPC': () => new GrpcTransportFactory({ grpcCallOptions: { interceptors: [saying] } }),
  };
  const options = {
    transports: [transports[PORTCULLIS_BINDING]()],
    cardResolver: new DefaultAgentCardResolver({ fetchImpl }),
  };
  return new ClientFactory(options).createFromUrl(`${base}/`);
}
