// The page of the demonstration: lists books, orders them, and counts which instance answers.
"use strict";

const byId = (id) => document.getElementById(id);
const counts = {};
const times = [];

async function ask(path, options) {
  const start = performance.now();
  const answer = await fetch(path, options);
  times.push(performance.now() - start);
  const instance = answer.headers.get("X-Instance") ?? "gateway";
  counts[instance] = (counts[instance] ?? 0) + 1;
  draw();
  return answer;
}

function draw() {
  const most = Math.max(...Object.values(counts));
  byId("instances").replaceChildren(...Object.keys(counts).sort().map((name) => {
    const row = document.createElement("div");
    row.className = "bar";
    const bar = document.createElement("i");
    bar.style.width = `${counts[name] / most * 60}%`;
    row.append(`instance ${name}`, bar, String(counts[name]));
    return row;
  }));
  const sorted = times.slice(-100).sort((a, b) => a - b);
  byId("timing").textContent = `last ${sorted.length} answers: median ` +
    `${sorted[sorted.length >> 1].toFixed(1)} ms, slowest ${sorted.at(-1).toFixed(1)} ms`;
}

async function order(book) {
  const answer = await ask("/api/orders", {
    method: "POST",
    headers: {"Content-Type": "application/json"},
    body: JSON.stringify({book, count: 1}),
  });
  const result = await answer.json();
  byId("order").textContent = answer.ok ? `Order ${result.order}: ${result.total} €` : result.error;
}

async function list() {
  const answer = await ask("/api/books");
  const books = await answer.json();
  byId("books").replaceChildren(...books.map((book) => {
    const row = document.createElement("tr");
    const cells = [book.title, book.author, `${book.price.toFixed(2)} €`].map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      return cell;
    });
    cells[2].className = "price";
    const button = document.createElement("button");
    button.textContent = "Order";
    button.onclick = () => order(book.id);
    const last = document.createElement("td");
    last.append(button);
    row.append(...cells, last);
    return row;
  }));
}

byId("ask").onclick = () => Promise.all(Array.from({length: 20}, () => ask("/api/books/3")));
byId("slow").onclick = () => ask("/api/slow?ms=3000");
byId("commands").textContent = `curl -i ${location.origin}/api/books/3
curl -i ${location.origin}/api/orders -d '{"book": 3, "count": 2}'
curl -i ${location.origin}/hello/you
curl -i "${location.origin}/api/slow?ms=3000"   # longer than the route's timeout: 504`;
list();
