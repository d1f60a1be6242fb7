// An agent of Agent2Agent 1.0, by the official TypeScript library, over JSON-RPC. The argument is its port.
//
// `direct` is answered by a message, `wait` by a task that needs more input, everything else by a task that is done.
import { webcrypto } from 'node:crypto';
import { createServer } from 'node:http';
import { AgentCard } from '@a2a-js/sdk';
import {
  AgentEvent, DefaultRequestHandler, InMemoryTaskStore, JsonRpcTransportHandler, ServerCallContext,
} from '@a2a-js/sdk/server';

// The library expects it as a global, which Debian's Node 18 does not have.
globalThis.crypto ??= webcrypto;

const port = Number(process.argv[2]);
const CARD = {
  name: 'adjuster', description: 'Adjusts claims.', version: '1', capabilities: { streaming: true },
  defaultInputModes: ['text/plain'], defaultOutputModes: ['text/plain'],
  skills: [{ id: 's', name: 'n', description: 'd', tags: ['t'] }],
  supportedInterfaces: [
    { url: `http://127.0.0.1:${port}/rpc`, protocolBinding: 'JSONRPC', protocolVersion: '1.0' },
  ],
};
const [WORKING, COMPLETED, CANCELED, INPUT_REQUIRED] = [2, 3, 5, 6];
const parts = (text) => [{ content: { $case: 'text', value: text }, metadata: undefined, filename: '', mediaType: '' }];

class Executor {
  contexts = new Map();

  async execute({ userMessage, taskId, contextId, task }, bus) {
    const text = userMessage.parts.map((part) => part.content?.value ?? '').join('');
    const status = (state) => ({ state, message: undefined, timestamp: new Date().toISOString() });
    const update = (state) => bus.publish(
      AgentEvent.statusUpdate({ taskId, contextId, status: status(state), metadata: undefined }),
    );
    if (text.startsWith('direct')) {
      bus.publish(AgentEvent.message({
        messageId: 'r', role: 2, contextId, taskId: '', parts: parts(`echo ${text}`), extensions: [],
        referenceTaskIds: [], metadata: undefined,
      }));
      bus.finished();
      return;
    }
    this.contexts.set(taskId, contextId);
    if (!task) {
      const made = { id: taskId, contextId, status: status(WORKING), artifacts: [], history: [userMessage], metadata: undefined };
      bus.publish(AgentEvent.task(made));
    }
    const artifact = {
      artifactId: 'a', name: 'result', description: '', parts: parts(`echo ${text}`), metadata: undefined, extensions: [],
    };
    bus.publish(AgentEvent.artifactUpdate({ taskId, contextId, artifact, append: false, lastChunk: true, metadata: undefined }));
    update(text.startsWith('wait') ? INPUT_REQUIRED : COMPLETED);
    bus.finished();
  }

  async cancelTask(taskId, bus) {
    const status = { state: CANCELED, message: undefined, timestamp: new Date().toISOString() };
    bus.publish(AgentEvent.statusUpdate({ taskId, contextId: this.contexts.get(taskId), status, metadata: undefined }));
    bus.finished();
  }
}

const handler = new DefaultRequestHandler(AgentCard.fromJSON(CARD), new InMemoryTaskStore(), new Executor());
const rpc = new JsonRpcTransportHandler(handler);

createServer(async (request, response) => {
  const json = (value) => response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  if (request.method === 'GET') {
    if (request.url === '/.well-known/agent-card.json') json(CARD);
    else response.writeHead(404).end();
    return;
  }
  let body = '';
  for await (const piece of request) body += piece;
  const context = new ServerCallContext({ requestedVersion: request.headers['a2a-version'] });
  const answer = await rpc.handle(body, context);
  if (!answer[Symbol.asyncIterator]) {
    json(answer);
    return;
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for await (const event of answer) response.write(`data: ${JSON.stringify(event)}\n\n`);
  response.end();
}).listen(port, '127.0.0.1');
