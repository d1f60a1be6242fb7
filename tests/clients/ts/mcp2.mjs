// The official TypeScript client of both eras (client 2.x) against the gateway. See scenario.mjs for the environment.
// Two runs: it asks `server/discover` first and must end up stateless; it is told to be old and shakes hands.
import { Client, ProtocolError, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { LEGACY, MODERN, run, walk } from './scenario.mjs';

const connector = mode => async (url, key) => {
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { Authorization: `Bearer ${key}` } },
  });
  const client = new Client({ name: 'portcullis-check', version: '1' }, { versionNegotiation: { mode } });
  await client.connect(transport);
  return { client, version: client.getNegotiatedProtocolVersion(), RpcError: ProtocolError };
};

await run(
  () => walk('typescript client 2', connector('auto'), MODERN),
  () => walk('typescript client 2, legacy,', connector('legacy'), LEGACY),
);
