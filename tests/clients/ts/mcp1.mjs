// The official TypeScript client of the session era (sdk 1.x) against the gateway. See scenario.mjs for the environment.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { McpError } from '@modelcontextprotocol/sdk/types.js';
import { LEGACY, run, walk } from './scenario.mjs';

async function connect(url, key) {
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { Authorization: `Bearer ${key}` } },
  });
  const client = new Client({ name: 'portcullis-check', version: '1' });
  await client.connect(transport);
  return { client, version: transport.protocolVersion, RpcError: McpError };
}

await run(() => walk('typescript sdk 1', connect, LEGACY));
