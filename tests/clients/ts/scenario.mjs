// What every MCP client must be able to do through the gateway, told once for both generations of the TypeScript SDK.
//
// PORTCULLIS_URL and PORTCULLIS_KEY say where and as whom, PORTCULLIS_SERVER which server's tools are used (default
// `everything`). DENIED_TOOL, when set, names a tool (as listed at /mcp) that the policy refuses to this key; DENIED_ARGS is
// the JSON object it is called with.

const URL_BASE = (process.env.PORTCULLIS_URL ?? 'http://127.0.0.1:4040').replace(/\/+$/, '');
const KEY = process.env.PORTCULLIS_KEY ?? '';
const SERVER = process.env.PORTCULLIS_SERVER ?? 'everything';
const DENIED_TOOL = process.env.DENIED_TOOL;
const DENIED_ARGS = JSON.parse(process.env.DENIED_ARGS ?? '{}');
export const MODERN = '2026-07-28';
export const LEGACY = '2025-11-25';

class Failed extends Error {}

export function check(sentence, holds, seen) {
  if (!holds) throw new Failed(`${sentence}; saw ${JSON.stringify(seen)}`);
  console.log('ok', sentence);
}

// `connect(url, key)` resolves to { client, version, RpcError }.
export async function walk(who, connect, version) {
  const peer = await connect(`${URL_BASE}/mcp`, KEY);
  check(`${who} negotiates ${version}`, peer.version === version, peer.version);
  await use(who, peer.client, `${SERVER}__`);
  await beRefused(who, peer);
  if (version === LEGACY) {
    await peer.client.ping();
    check(`${who} gets a pong`, true);
  }
  await peer.client.close();

  const direct = await connect(`${URL_BASE}/mcp/${SERVER}`, KEY);
  await use(`${who} at /mcp/${SERVER}`, direct.client, '');
  await direct.client.close();
  const session = `${who.replaceAll(/[^a-z0-9]/g, '')}-${SERVER}`;
  const own = await connect(`${URL_BASE}/s/${session}/mcp`, KEY);
  await remember(who, own, version === MODERN ? -32602 : -32002);
  await own.client.close();
  await beShutOut(who, connect);
}

async function remember(who, { client, RpcError }, notFound) {
  const note = 'portcullis://session/state/note';
  const read = async uri => (await client.readResource({ uri })).contents[0].text;
  const put = await call(client, 'portcullis__state_put', { key: 'note', value: { grüße: [1, 2.5] } });
  check(`${who} notes something down`, !put.isError && put.structured?.version === 1, put);
  const listed = (await client.listResources()).resources.map(resource => resource.uri);
  check(`${who} lists what its session remembers`, listed.join() === `portcullis://session/history,${note}`, listed);
  const templates = (await client.listResourceTemplates()).resourceTemplates.map(template => template.uriTemplate);
  check(`${who} lists the templates`, templates.includes('portcullis://session/state/{key}'), templates);
  check(`${who} reads it as a resource`, (await read(note)) === '{"grüße":[1,2.5]}');
  const history = await read('portcullis://session/history');
  check(`${who} reads the history`, history === '{"messages":[]}', history);
  try {
    const nothing = await read(`${note}s`);
    throw new Failed(`${who} learns that there is no such resource; saw ${nothing}`);
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    // Client 2 gives the number of the older versions as that of the newest.
    check(`${who} learns that there is no such resource`, [notFound, -32602].includes(error.code), error);
  }
}

async function use(who, client, prefix) {
  const names = (await client.listTools()).tools.map(tool => tool.name);
  const wanted = ['echo', 'get-sum', 'get-structured-content'].map(name => prefix + name);
  check(`${who} lists ${prefix}echo and its siblings`, wanted.every(name => names.includes(name)), names);
  check(`${who} lists no name twice`, new Set(names).size === names.length, names);

  const echo = await call(client, `${prefix}echo`, { message: 'grüße, 世界' });
  check(`${who} gets its echo back`, !echo.isError && echo.text === 'Echo: grüße, 世界', echo);
  const total = await call(client, `${prefix}get-sum`, { a: 2, b: 3 });
  check(`${who} gets a sum`, !total.isError && total.text.includes('is 5'), total);
  const weather = await call(client, `${prefix}get-structured-content`, { location: 'Chicago' });
  check(`${who} gets structured content`, weather.structured?.temperature === 36, weather);

  const numbers = Array.from({ length: 16 }, (_, n) => n);
  const many = await Promise.all(numbers.map(n => call(client, `${prefix}echo`, { message: String(n) })));
  check(`${who} gets 16 parallel answers unmixed`, many.every((answer, n) => answer.text === `Echo: ${n}`), many);
  const wrong = await call(client, `${prefix}echo`, { massage: 1 });
  check(`${who} reads that its arguments are wrong`, wrong.isError && wrong.text, wrong);
}

async function beRefused(who, { client, RpcError }) {
  const sentence = `${who} learns that a tool is unknown`;
  try {
    const unknown = await call(client, `${SERVER}__no-such-tool`, {});
    check(sentence, unknown.isError && unknown.text, unknown);
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    check(sentence, error.message.includes('no-such-tool'), error.message);
  }
  if (DENIED_TOOL) {
    const denied = await call(client, DENIED_TOOL, DENIED_ARGS);
    check(`${who} can read why ${DENIED_TOOL} is denied: '${denied.text}'`, denied.isError && denied.text, denied);
  }
  const after = await call(client, `${SERVER}__echo`, { message: 'still here' });
  check(`${who} goes on after a refusal`, after.text === 'Echo: still here', after);
}

async function beShutOut(who, connect) {
  const sentence = `${who} is shut out with a wrong key`;
  let peer;
  try {
    peer = await connect(`${URL_BASE}/mcp`, `${KEY}-wrong`);
    await peer.client.listTools();
  } catch {
    return check(sentence, true);
  }
  throw new Failed(`${sentence}; saw it let in`);
}

async function call(client, name, args) {
  const result = await client.callTool({ name, arguments: args });
  const text = result.content.filter(block => block.type === 'text').map(block => block.text).join('');
  return { text, isError: result.isError === true, structured: result.structuredContent };
}

export async function run(...walks) {
  try {
    for (const one of walks) await one();
    process.exit(0); // an open notification stream must not keep the process alive
  } catch (error) {
    console.error('FAILED', error instanceof Failed ? error.message : `${error.name}: ${error.message}`);
    process.exit(1);
  }
}
