// The official TypeScript client of the session era (sdk 1.x) asks whoever is in front of it. See elicit.mjs.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';
import { requestInit, url, walk } from './elicit.mjs';
import { run } from './scenario.mjs';

await run(async () => {
  const asked = [];
  const replies = [];
  const client = new Client({ name: 'portcullis-check', version: '1' }, { capabilities: { elicitation: {} } });
  client.setRequestHandler(ElicitRequestSchema, async request => {
    asked.push(request.params.message);
    return replies.shift();
  });
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
  await walk('typescript sdk 1', client, asked, replies);
});
