// The official TypeScript client of both eras (client 2.x) asks whoever is in front of it. See elicit.mjs.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { requestInit, url, walk } from './elicit.mjs';
import { run } from './scenario.mjs';

const player = mode => async () => {
  const asked = [];
  const replies = [];
  const capabilities = { elicitation: {} };
  const client = new Client({ name: 'portcullis-check', version: '1' }, { capabilities, versionNegotiation: { mode } });
  client.setRequestHandler('elicitation/create', async request => {
    asked.push(request.params.message);
    return replies.shift();
  });
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
  await walk(`typescript client 2, ${mode},`, client, asked, replies);
};

await run(player('legacy'), player('auto'));
