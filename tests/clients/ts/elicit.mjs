// What comes of a call that whoever is in front of the client is asked about, told once for both TypeScript clients.
// PORTCULLIS_URL and PORTCULLIS_KEY say where and as whom; PORTCULLIS_FIRST is the first amount that nobody has paid yet.
import { check } from './scenario.mjs';

export const url = new URL(process.env.PORTCULLIS_URL.replace(/\/$/, '') + '/mcp');
export const requestInit = {
  headers: { Authorization: `Bearer ${process.env.PORTCULLIS_KEY}`, 'Portcullis-Session': 'claim-9' },
};
let amount = Number(process.env.PORTCULLIS_FIRST);

export async function walk(who, client, asked, replies) {
  for (const [reply, expected] of [
    [{ action: 'accept', content: { decision: 'approve' } }, 'recorded x'],
    [{ action: 'accept', content: { decision: 'deny', comment: 'too much' } }, 'has said no: too much'],
    [{ action: 'decline' }, 'has said no'],
    [{ action: 'cancel' }, 'It was asked for as approval'],
  ]) {
    amount += 1;
    replies.push(reply);
    const result = await client.callTool({ name: 'tools__record', arguments: { id: 'x', value: amount } });
    const text = result.content.map(block => block.text).join('');
    check(`${who} is told what comes of ${reply.action}`, text.includes(expected), text);
    check(`${who} shows what is asked`, asked.at(-1)?.includes(`"value":${amount}`), asked);
  }
  check(`${who} asks once for each call`, asked.length === 4, asked);
  await client.close();
}
