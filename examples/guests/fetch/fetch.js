// Requests from JavaScript: SpiderMonkey's `fetch` asks through wasi:http, for what the module's grants allow.
// It follows no redirects: each is an answer, with a status from 300 to 399.

export async function title(url) {
  const answer = await ask(url);
  // What is thrown as a string is the error of the function's result; any other exception would be a trap.
  if (!answer.ok) throw `${url} answers ${answer.status}`;
  const found = /<title[^>]*>([^<]*)</i.exec(await answer.text());
  if (!found) throw `${url} has no title`;
  return found[1].trim();
}

export async function post(url, body) {
  const answer = await ask(url, { method: "POST", body });
  return answer.status;
}

async function ask(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    throw `no answer from ${url}: ${error.message}`;
  }
}
