// @ts-check
/**
 * The hub: a SharedWorker that holds one link for all pages that a browser has open of an app.
 *
 *     page ── port ──┐
 *     page ── port ──┼── hub ── EventSource ── server
 *     page ── port ──┘
 *
 * Each page announces itself over its port (`carrier.js`). The hub opens one link for all of them, passes on to each
 * the events that are its own, and sends the pages' acknowledgements on, several in one request. It acknowledges
 * nothing by itself: the server waits for the page when that has not acknowledged what it was sent.
 *
 * When another page comes, the hub opens a new link with all pages, and closes the one before as soon as the new one
 * brings something: `hub_pages.js` has what makes this safe. An EventSource that connects again by itself would do so
 * with the pages of before. So the hub closes it at its first `error`, and opens another after a pause.
 *
 * A page that crashes cannot say `close`. Each page holds a Web Lock, which the browser releases when the page
 * is gone, however that happens; the hub waits for that lock, and then says `close` to the server for the page. Where
 * there are no locks, the server notices that the page acknowledges nothing.
 *
 * Runs as a classic script: `flash/asgi/hub_script.py` puts `wire.js`, `reconnect.js` and `hub_pages.js` before it.
 */

/**
 * @typedef {Announced & {kind: 'carry', lock: string | null, headers: Record<string, string>}} Carry  a page announces
 *     itself, with the name of the lock that it holds, and the headers that prove that a request is the page's
 * @typedef {{kind: 'drop', page: string}} Drop  a page is not to be carried any more
 * @typedef {{kind: 'ack', id: number, page: string, event: string, headers: Record<string, string>}} Acknowledge
 * @typedef {{kind: 'alive'}} Alive  a page asks whether the hub is there
 * @typedef {{kind: 'hold', page: string, lock: string}} Hold  a page has its lock now
 * @typedef {Carry | Drop | Acknowledge | Alive | Hold} PageMessage  what a page sends to its hub
 * @typedef {{port: MessagePort, carry: Carry, lockWait: AbortController}} Entry  a page that is carried;
 *     `lockWait` ends the wait for its lock
 * @typedef {{page: string, status: number, message: string}} RefusedPage  in the answer to acknowledgements
 * @typedef {{number: number, source: EventSource, openedAt: number}} HubLink
 */

(function () {
    const scope = /** @type {SharedWorkerGlobalScope} */ (/** @type {unknown} */ (self));
    const {flash} = /** @type {any} */ (globalThis);
    const {wire, reconnect} = flash;

    /** Milliseconds that the hub waits for further pages before it opens a new link. */
    const JOIN_DELAY = 20;
    /** Milliseconds that the hub waits for further acknowledgements before it sends them. */
    const GATHER_DELAY = 10;
    /**
     * Milliseconds that a link may take to bring its first event before it is replaced for the sake of another page.
     */
    const OPEN_TIMEOUT = 5_000;
    /** Milliseconds that the server may take to answer. */
    const ANSWER_TIMEOUT = 10_000;
    /** Milliseconds in which a page whose lock is free may say that it leaves, as pages do that have not crashed. */
    const LEAVE_DELAY = 100;

    const pages = new flash.HubPages();
    /** The pages that are carried, by token. @type {Map<string, Entry>} */
    const entries = new Map();
    /** The link whose events are passed on. @type {HubLink | null} */
    let current = null;
    /** The link that is being opened, to take its place. @type {HubLink | null} */
    let next = null;
    /** Whether the hub holds its lock. */
    let holdsLock = false;
    /** The number of links that were opened. */
    let count = 0;
    /** Opens a link. @type {ReturnType<typeof setTimeout> | undefined} */
    let opening;
    /** The acknowledgements that are to be sent. @type {{port: MessagePort, message: Acknowledge}[]} */
    let acknowledgements = [];

    /**
     * A page announces itself.
     * @param {MessagePort} port
     * @param {Carry} carry
     */
    function carry(port, carry) {
        const before = entries.get(carry.page);
        if (before !== undefined && before.port !== port) {
            if (carry.turn < before.carry.turn) {
                reportTakenOver({port, carry});
                return;
            }
            reportTakenOver(before);
        }
        forget(carry.page);
        const entry = {port, carry, lockWait: new AbortController()};
        entries.set(carry.page, entry);
        pages.carry(carry);
        watchLock(entry);
        schedule(current === null && next === null ? 0 : JOIN_DELAY);
    }

    /**
     * A page has been opened a second time, by the same token: only the newer one is carried.
     * @param {{port: MessagePort, carry: Carry}} older
     */
    function reportTakenOver({port, carry: {page, turn, last}}) {
        const status = wire.TAKEN_OVER;
        const data = JSON.stringify(wire.events.over({page, life: null, status, message: 'It was opened again.'}));
        port.postMessage({kind: 'event', type: 'over', data, lastEventId: last, turn});
    }

    /**
     * A page is not to be carried any more. The link goes on for the others; without any it is closed.
     * @param {string} page
     */
    function drop(page) {
        pages.drop(page);
        forget(page);
        if (entries.size === 0) {
            clearTimeout(opening);
            opening = undefined;
            [current, next].forEach(link => link?.source.close());
            current = next = null;
        }
    }

    /** Forget where a page is. @param {string} page */
    function forget(page) {
        entries.get(page)?.lockWait.abort();
        entries.delete(page);
    }

    /**
     * Wait for the lock of a page, which is free when the page is gone.
     * @param {Entry} entry
     */
    function watchLock(entry) {
        const {lock, page} = entry.carry;
        if (lock === null) {
            return;
        }
        const gone = () => {
            if (entries.get(page) === entry) {
                post('close', {page}, entry.carry.headers).catch(() => undefined);
                drop(page);
            }
        };
        const {signal} = entry.lockWait;
        navigator.locks.request(lock, {signal}, () => void setTimeout(gone, LEAVE_DELAY)).catch(() => undefined);
    }

    /**
     * A page holds its lock: wait for that, if the page has announced itself without it.
     * @param {MessagePort} port
     * @param {Hold} message
     */
    function hold(port, {page, lock}) {
        const entry = entries.get(page);
        if (entry?.port === port && entry.carry.lock === null) {
            entry.carry.lock = lock;
            watchLock(entry);
        }
    }

    /**
     * Open a link after a pause, unless one is to be opened already.
     * @param {number} pause  milliseconds
     */
    function schedule(pause) {
        if (opening === undefined) {
            opening = setTimeout(open, pause);
        }
    }

    /** Open a link for all pages. */
    function open() {
        opening = undefined;
        if (entries.size === 0) {
            return;
        }
        const remaining = next === null ? 0 : next.openedAt + OPEN_TIMEOUT - Date.now();
        if (remaining > 0) {
            // Wait for that one: pages that come one after another must not keep it from being opened at all.
            schedule(remaining);
            return;
        }
        next?.source.close();
        const number = ++count;
        const source = new EventSource(`events?${pages.query(number)}`);
        const link = (next = {number, source, openedAt: Date.now()});
        for (const name of Object.keys(wire.events)) {
            source.addEventListener(name, event => receive(link, /** @type {MessageEvent} */ (event)));
        }
        source.onerror = () => lose(link);
    }

    /**
     * A link has brought an event.
     * @param {HubLink} link
     * @param {MessageEvent} event
     */
    function receive(link, {type, data, lastEventId}) {
        if (data === undefined) {
            // EventSource has an `open` of its own, which is not the server's.
            return;
        }
        if (link === next) {
            current?.source.close();
            current = next;
            next = null;
            reconnect.cuts.reset();
            clearTimeout(opening);
            opening = undefined;
        }
        deliver(pages.receive(link.number, {type, data, lastEventId}));
        if (next === null && pages.hasNew()) {
            schedule(JOIN_DELAY);
        }
    }

    /**
     * A link is gone, or was refused.
     * @param {HubLink} link
     */
    function lose(link) {
        const isRefused = link.source.readyState === EventSource.CLOSED;
        link.source.close();
        if (link === next) {
            next = null;
        } else if (link === current) {
            current = null;
        } else {
            return;
        }
        if (current === null) {
            deliver(pages.cut());
        } else {
            pages.keepLink(current.number);
        }
        if (isRefused) {
            deliver(pages.refuse());
        }
        if (next === null && (current === null || pages.hasNew())) {
            const pause = reconnect.cuts.next();
            clearTimeout(opening);
            opening = undefined;
            // Not all browsers at the same moment.
            schedule(pause / 2 + reconnect.jitter(pause / 2));
        }
    }

    /**
     * Send messages to pages. One that learns so that it is not carried any more announces itself again.
     * @param {Delivery[]} deliveries
     */
    function deliver(deliveries) {
        for (const {page, message} of deliveries) {
            const entry = entries.get(page);
            entry?.port.postMessage({...message, turn: entry.carry.turn});
            if (!pages.pages.has(page)) {
                drop(page);
            }
        }
    }

    /**
     * A page acknowledges events: send that on, together with what other pages acknowledge in the same moment.
     * @param {MessagePort} port
     * @param {Acknowledge} message
     */
    function acknowledge(port, message) {
        if (acknowledgements.push({port, message}) === 1) {
            setTimeout(sendAcknowledgements, entries.size > 1 ? GATHER_DELAY : 0);
        }
    }

    /** Send the acknowledgements that have come, and tell each page what the server has answered to its own. */
    async function sendAcknowledgements() {
        const sent = acknowledgements;
        acknowledgements = [];
        const events = Object.fromEntries(sent.map(({message}) => [message.page, message.event]));
        const secrets = new Set(sent.map(({message}) => message.headers[wire.PROOF_HEADER]));
        const headers = Object.assign({}, ...sent.map(({message}) => message.headers));
        headers[wire.PROOF_HEADER] = [...secrets].join(', ');
        let answer = {status: 0, ok: false, text: '', type: ''};
        /** @type {Map<string, RefusedPage>} */
        const refused = new Map();
        try {
            const response = await post('ack', {events}, headers);
            const {status, ok} = response;
            answer = {status, ok, text: await response.text(), type: response.headers.get('Content-Type') ?? ''};
            if (status === 200) {
                const {refused: some} = wire.parseAnswer('ack', answer.text);
                some.forEach((/** @type {RefusedPage} */ each) => refused.set(each.page, each));
            }
        } catch {
            // The status says that there was no answer.
        }
        for (const {port, message} of sent) {
            const refusal = refused.get(message.page);
            const ofPage = refusal && {status: refusal.status, ok: false, text: refusal.message};
            port.postMessage({kind: 'answered', id: message.id, ...answer, ...ofPage});
        }
    }

    /**
     * Send a message to one of Flash's routes.
     * @param {string} name
     * @param {object} message
     * @param {Record<string, string>} headers  of the pages whose message it is
     */
    function post(name, message, headers) {
        return fetch(name, {
            method: 'POST',
            headers: {...headers, 'Content-Type': 'application/json'},
            body: wire.encode(name, message),
            credentials: 'same-origin',
            signal: AbortSignal.timeout(ANSWER_TIMEOUT)
        });
    }

    /**
     * A page has sent a message.
     *
     * Messages of one port come in order, but those of two may not. A page that has left a hub which stood still, and
     * has come back to it, has two: what it has said over the first is not to undo what it has said over the second.
     * @param {MessagePort} port
     * @param {PageMessage} message
     */
    function receiveFromPage(port, message) {
        if (message.kind === 'carry') {
            carry(port, message);
        } else if (message.kind === 'drop') {
            if (entries.get(message.page)?.port === port) {
                drop(message.page);
            }
        } else if (message.kind === 'ack') {
            acknowledge(port, message);
        } else if (message.kind === 'hold') {
            hold(port, message);
        } else {
            port.postMessage({kind: 'alive', holdsLock});
        }
    }

    /** Hold a lock for as long as the hub lives: a page that waits for it learns when the hub is gone. */
    function holdLock() {
        const held = () => {
            holdsLock = true;
            return new Promise(() => undefined);
        };
        navigator.locks?.request(`flash hub ${scope.location.pathname}`, held).catch(() => undefined);
    }

    holdLock();
    scope.onconnect = ({ports: [port]}) => {
        port.onmessage = ({data}) => receiveFromPage(port, data);
    };
})();
