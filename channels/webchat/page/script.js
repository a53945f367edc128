"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const [banner, scroller, empty, older, log, typing, doing, jump, composer, text, attach, picker, chosen, send, room, fresh] =
    ["banner", "scroller", "empty", "older", "log", "typing", "doing", "jump", "composer", "text", "attach", "picker",
      "chosen", "send", "room", "fresh"].map($);
  const MAX_UNITS = 4000; // UTF-16 units of a message
  const LARGEST = 700000; // bytes of all files of a message: in base64 they fit into a request of 1 MiB
  const MAX_FILES = 8;
  const STORE = "tinclaw-chat-session";
  const DRAFT = "tinclaw-chat-draft";
  const UNSENT = "tinclaw-chat-unsent";
  const TITLE = document.title;
  const BASE = location.pathname.replace(/\/+$/, "");

  let session = remembered() || begin();
  let cursor = "0";
  let shown = new Map(); // user messages by their id
  let growing = null; // the reply that is being written
  let last = null; // the last message in the log: { role, at }
  let failures = 0;
  let quiet = 0; // polls in a row that brought nothing and did not wait
  let partial = 0; // bytes of the reply that is being written
  let working = ""; // the sign of the agent's work, as the server is told that it is shown
  let unread = 0;
  let files = []; // chosen for the next message
  let timer = 0;
  let polling = null; // aborts the poll under way

  function randomId() {
    return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
  }
  function load(key) {
    try { return localStorage.getItem(key); } catch { return null; } // storage can be forbidden
  }
  function keep(key, value) {
    try {
      if (value) localStorage.setItem(key, value); else localStorage.removeItem(key);
    } catch { /* then it lasts as long as this page */ }
  }
  function remembered() {
    return load(STORE);
  }
  function begin() {
    const id = randomId();
    keep(STORE, id);
    return id;
  }
  // Messages without a response of the server: they survive a reload, without their files.
  function unsent() {
    try { return JSON.parse(load(UNSENT) || "[]"); } catch { return []; }
  }
  function keepUnsent(list) {
    keep(UNSENT, list.length ? JSON.stringify(list) : "");
  }

  // ---- showing ----

  const atBottom = () => scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 80;
  function toBottom() {
    scroller.scrollTop = scroller.scrollHeight;
    jump.hidden = true;
  }

  // Text goes in as text nodes only; what looks like a web address becomes a link.
  function fill(element, content) {
    const links = /https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]]/g;
    let from = 0;
    for (const match of content.matchAll(links)) {
      element.append(content.slice(from, match.index));
      const link = document.createElement("a");
      link.href = match[0];
      link.target = "_blank";
      link.rel = "noopener noreferrer nofollow";
      link.textContent = match[0];
      element.append(link);
      from = match.index + match[0].length;
    }
    element.append(content.slice(from));
  }

  // The server has made safe HTML of the agent's Markdown.
  function format(bubble, html) {
    bubble.classList.add("formatted");
    bubble.innerHTML = html;
    for (const link of bubble.querySelectorAll("a")) {
      link.target = "_blank";
      link.rel = "noopener noreferrer nofollow";
    }
    for (const block of bubble.querySelectorAll("pre")) {
      const frame = Object.assign(document.createElement("div"), { className: "code" });
      const copy = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "Copy" });
      copy.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(block.textContent);
          copy.textContent = "Copied";
        } catch {
          // Without https there is no clipboard: the text is selected instead.
          getSelection().selectAllChildren(block);
          copy.textContent = "Selected";
        }
        setTimeout(() => { copy.textContent = "Copy"; }, 2000);
      });
      block.replaceWith(frame);
      frame.append(copy, block);
    }
  }

  // A picture is shown, anything else is a button that fetches it.
  function showFile(item, file) {
    const size = file.size < 1000 ? file.size + " B" : Math.round(file.size / 1000) + " KB";
    const isPicture = /^image\/(png|jpeg|gif|webp)$/.test(file.type || "");
    if (!file.id) return item.append(Object.assign(document.createElement("div"), { className: "file", textContent: file.name + " (" + size + ", not kept)" }));
    const mine = session;
    const fetched = async () => {
      const response = await fetch(BASE + "/file?id=" + file.id, { headers: { "X-Chat-Session": mine } });
      if (!response.ok) throw new Error(String(response.status));
      return URL.createObjectURL(new Blob([await response.arrayBuffer()], { type: isPicture ? file.type : "application/octet-stream" }));
    };
    const button = Object.assign(document.createElement("button"), { type: "button", className: "file", textContent: "↓ " + file.name + " (" + size + ")" });
    button.addEventListener("click", async () => {
      try {
        Object.assign(document.createElement("a"), { href: await fetched(), download: file.name }).click();
      } catch {
        button.textContent = file.name + " is no longer kept";
        button.disabled = true;
      }
    });
    item.append(button);
    if (!isPicture) return;
    const stick = atBottom();
    fetched().then((url) => {
      const picture = Object.assign(document.createElement("img"), { src: url, alt: file.name, className: "picture" });
      picture.addEventListener("load", () => { if (stick) toBottom(); });
      button.before(picture);
    }, () => {});
  }

  function countUnread() {
    if (!document.hidden && document.hasFocus()) unread = 0;
    document.title = unread ? "(" + unread + ") " + TITLE : TITLE;
  }

  function add(role, content, at, files, html) {
    const stick = atBottom() || role === "user";
    const item = document.createElement("div");
    item.className = "message " + role;
    if (!last || last.role !== role || at - last.at > 300000) item.classList.add("turn");
    last = { role, at };
    const who = document.createElement("span");
    who.className = "unseen";
    who.textContent = role === "user" ? "You: " : role === "agent" ? "Reply: " : "Notice: ";
    const bubble = document.createElement("div");
    bubble.className = "bubble";
    if (html === undefined) fill(bubble, content); else format(bubble, html);
    if (item.classList.contains("turn")) {
      const time = Object.assign(document.createElement("time"), { dateTime: new Date(at).toISOString() });
      const today = new Date(at).toDateString() === new Date().toDateString();
      time.textContent = new Date(at).toLocaleString([], today ? { hour: "2-digit", minute: "2-digit" } : { dateStyle: "medium", timeStyle: "short" });
      item.append(time);
    }
    item.append(who);
    if (content) item.append(bubble);
    // What an earlier version has kept of files are their names.
    for (const file of files || []) showFile(item, typeof file === "string" ? { name: file, size: 0 } : file);
    item.title = new Date(at).toLocaleString();
    log.append(item);
    empty.hidden = true;
    if (stick) toBottom(); else jump.hidden = false;
    return item;
  }

  function note(item, words, action) {
    let meta = item.querySelector(".meta");
    if (!meta) item.append((meta = Object.assign(document.createElement("div"), { className: "meta" })));
    meta.replaceChildren(words);
    if (!words) meta.remove();
    if (action) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: action.words });
      button.addEventListener("click", action.run);
      meta.append(" ", button);
    }
    return meta;
  }

  // What there is of a reply stands below everything else until the reply is there.
  function showPartial(content) {
    if (!content) {
      if (growing) growing.remove();
      growing = null;
      return;
    }
    const stick = atBottom();
    if (!growing) {
      growing = document.createElement("div");
      growing.className = "message agent turn";
      growing.setAttribute("aria-busy", "true");
      growing.append(Object.assign(document.createElement("div"), { className: "bubble" }));
      empty.hidden = true;
    }
    const bubble = growing.firstElementChild;
    if (bubble.dataset.length !== String(content.length)) {
      bubble.replaceChildren();
      fill(bubble, content);
      bubble.dataset.length = content.length;
    }
    if (log.lastElementChild !== growing) log.append(growing);
    if (stick) toBottom();
  }

  function showTyping(state) {
    const stick = atBottom();
    typing.hidden = !state;
    const words = (state && state.label) || "Typing…";
    if (state && doing.textContent !== words) doing.textContent = words;
    if (state && stick) toBottom();
  }

  function showBanner(words) {
    banner.hidden = !words;
    if (banner.textContent !== words) banner.textContent = words;
  }

  // ---- receiving ----

  async function poll() {
    clearTimeout(timer);
    if (polling) return;
    const mine = session;
    const abort = (polling = new AbortController());
    // The server lets a request wait for 25 s.
    const limit = setTimeout(() => abort.abort(), 40000);
    const began = Date.now();
    try {
      const query = new URLSearchParams({ session: mine, after: cursor, typing: working, partial });
      const response = await fetch(BASE + "/messages?" + query, { cache: "no-store", signal: abort.signal });
      if (!response.ok) throw new Error(String(response.status));
      const news = await response.json();
      if (mine !== session) return;
      take(news, Date.now() - began);
      failures = 0;
      showBanner("");
    } catch {
      if (mine !== session) return;
      failures += 1;
      showTyping(null);
      // One lost request is not worth a word.
      if (failures > 1) showBanner(navigator.onLine ? "The server cannot be reached. Trying again…" : "You are offline.");
    } finally {
      clearTimeout(limit);
      if (polling === abort) polling = null;
      if (mine === session) timer = setTimeout(poll, pause());
    }
  }

  function take(news, waited) {
    if (cursor === "0") older.hidden = !news.cut;
    const isFirst = cursor === "0";
    if (news.messages.some((message) => message.role !== "user")) showPartial(null);
    for (const message of news.messages) {
      if (message.role === "user" && shown.has(message.id)) continue;
      const item = add(message.role, message.text, message.at, message.files, message.html);
      if (message.role === "user") shown.set(message.id, item);
      else if (!isFirst) unread += 1;
    }
    countUnread();
    cursor = news.next;
    const sign = news.typing ? "+" + (news.typing.label || "") : "";
    // A server that has no room for another request that waits responds at once.
    quiet = news.messages.length || sign !== working || waited > 500 ? 0 : quiet + 1;
    working = sign;
    showPartial(news.partial);
    partial = news.partial ? new TextEncoder().encode(news.partial).length : 0;
    showTyping(news.typing);
  }

  function pause() {
    if (failures) return Math.min(1000 * 2 ** (failures - 1), 15000);
    return quiet ? Math.min(750 + 250 * quiet, 6000) : 0;
  }

  // ---- sending ----

  async function deliver(item, id, content, attached) {
    item.classList.remove("failed");
    item.classList.add("sending");
    note(item, "");
    const mine = session;
    const abort = new AbortController();
    const limit = setTimeout(() => abort.abort(), 30000);
    let trouble = "";
    try {
      const response = await fetch(BASE + "/send", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ session: mine, id, text: content, files: attached }),
        signal: abort.signal,
      });
      if (response.status === 429) trouble = "Not sent: too many messages at once.";
      else if (response.status === 413) trouble = "Not sent: it is too large.";
      else if (response.status === 503) trouble = "Not sent: the server is busy.";
      else if (!response.ok) trouble = "Not sent: the server refused it (" + response.status + ").";
    } catch {
      trouble = navigator.onLine ? "Not sent: the server cannot be reached." : "Not sent: you are offline.";
    }
    clearTimeout(limit);
    if (mine !== session) return;
    item.classList.remove("sending");
    if (trouble) {
      item.classList.add("failed");
      note(item, trouble, { words: "Try again", run: () => deliver(item, id, content, attached) });
      if (item === log.lastElementChild) toBottom();
      return;
    }
    keepUnsent(unsent().filter((message) => message.id !== id));
    quiet = 0;
    failures = 0;
    poll();
  }

  function submit() {
    const content = text.value.trim();
    if ((!content && !files.length) || text.value.length > MAX_UNITS) return;
    const id = randomId();
    const attached = files.map(({ name, type, data }) => ({ name, type, data }));
    const item = add("user", content, Date.now());
    for (const { name } of files) item.append(Object.assign(document.createElement("div"), { className: "file", textContent: name }));
    shown.set(id, item);
    if (content) keepUnsent([...unsent(), { id, text: content, at: Date.now() }]);
    text.value = "";
    keep(DRAFT, "");
    files = [];
    showFiles();
    fit();
    deliver(item, id, content, attached);
  }

  // ---- files ----

  const bytesOf = (list) => list.reduce((sum, file) => sum + file.size, 0);

  async function choose(list) {
    for (const file of list) {
      if (files.length >= MAX_FILES) { showBanner("A message has at most " + MAX_FILES + " files."); break; }
      if (bytesOf(files) + file.size > LARGEST) {
        showBanner(file.name + " does not fit: the files of a message have at most " + LARGEST / 1000 + " KB.");
        continue;
      }
      const url = await new Promise((done) => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.onerror = () => done("");
        reader.readAsDataURL(file);
      });
      files.push({ name: file.name || "picture.png", type: file.type, size: file.size, data: url.slice(url.indexOf(",") + 1) });
    }
    showFiles();
    fit();
  }

  function showFiles() {
    chosen.replaceChildren(...files.map((file) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: file.name + " ×", title: "Do not send " + file.name });
      button.addEventListener("click", () => { files = files.filter((other) => other !== file); showFiles(); fit(); });
      return button;
    }));
    chosen.hidden = !files.length;
  }

  // ---- the field ----

  function fit() {
    text.style.height = "";
    if (text.scrollHeight > text.clientHeight) text.style.height = text.scrollHeight + "px";
    const left = MAX_UNITS - text.value.length;
    // Text over the limit stays: cutting it would lose the end unseen.
    send.disabled = left < 0 || !(text.value.trim() || files.length);
    room.classList.toggle("over", left < 0);
    const count = Math.abs(left) === 1 ? "1 character " : Math.abs(left) + " characters ";
    const words = left < 0 ? count + "too many" : left < 200 ? count + "left" : "";
    if (room.textContent !== words) room.textContent = words;
  }

  composer.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
    text.focus();
  });
  text.addEventListener("input", () => { keep(DRAFT, text.value); fit(); });
  attach.addEventListener("click", () => picker.click());
  picker.addEventListener("change", () => { choose([...picker.files]); picker.value = ""; });
  text.addEventListener("paste", (event) => {
    const pasted = [...event.clipboardData.files];
    if (pasted.length) { event.preventDefault(); choose(pasted); }
  });
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => { event.preventDefault(); choose([...event.dataTransfer.files]); });
  text.addEventListener("keydown", (event) => {
    // On a touch keyboard Enter makes a new line, and the button sends.
    const sends = event.key === "Enter" && !event.shiftKey && !event.isComposing && !matchMedia("(pointer: coarse)").matches;
    if (!sends) return;
    event.preventDefault();
    submit();
  });
  jump.addEventListener("click", toBottom);
  scroller.addEventListener("scroll", () => { if (atBottom()) jump.hidden = true; }, { passive: true });
  new ResizeObserver(() => { if (jump.hidden) toBottom(); }).observe(scroller);
  fresh.addEventListener("click", () => {
    if (log.childElementCount && !confirm("Forget this conversation and start a new one?")) return;
    if (polling) polling.abort();
    polling = null;
    session = begin();
    cursor = "0";
    shown = new Map();
    last = null;
    failures = quiet = unread = 0;
    working = "";
    partial = 0;
    growing = null;
    keepUnsent([]);
    countUnread();
    older.hidden = true;
    log.replaceChildren();
    empty.hidden = false;
    jump.hidden = true;
    showTyping(null);
    showBanner("");
    fit();
    text.focus();
    poll();
  });
  const wake = () => { failures = Math.min(failures, 1); quiet = 0; poll(); };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { countUnread(); wake(); } });
  addEventListener("focus", countUnread);
  addEventListener("online", wake);
  addEventListener("offline", wake);

  text.value = load(DRAFT) || "";
  fit();
  for (const { id, text: content, at } of unsent()) {
    const item = add("user", content, at);
    shown.set(id, item);
    deliver(item, id, content, []);
  }
  if (!matchMedia("(pointer: coarse)").matches) text.focus();
  poll();
})();
