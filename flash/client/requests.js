// @ts-check
/**
 * Sends the page's messages to the server: acknowledgements, changes of cancel Inputs, starts, and that it is left.
 *
 * Each message is a request. A browser has six connections to a host over HTTP/1.1, and slow callbacks may hold all of
 * them: a request then waits in the browser until one of them is over. A websocket does not count among the six. So a
 * message whose request was not answered within `REQUEST_TIMEOUT` is also sent over a websocket, and the first answer
 * counts. The server may receive a message twice: it acts on it once.
 *
 * The websocket is opened when it is needed, and closed after `IDLE_TIMEOUT` without a message. If it cannot be opened,
 * for instance behind a proxy that forwards none, messages wait for their requests alone, for `BLOCKED_TIME`.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {{token: string, secret: string, hub: string}} PageNames  what the layout says of the page: its token, its
 *     secret, and the name of the hub's script
 * @typedef {{status: number, ok: boolean, text: string, type: string}} Answer  of the server, by request or websocket
 * @typedef {object} Sent  a message that was sent over the websocket, or will be when that is open
 * @property {string} message
 * @property {(answer: Answer) => void} resolve
 * @property {(error: Error) => void} reject
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire} = flash;
    const {config, callAddress} = flash.renderer;

    /** Milliseconds that the server may take to answer. */
    const ANSWER_TIMEOUT = 10_000;
    /** Milliseconds, at least, after which a message goes over the websocket as well as by its request. */
    const REQUEST_TIMEOUT = 75;
    /** Milliseconds for which an unused websocket is kept. */
    const IDLE_TIMEOUT = 10_000;
    /** Milliseconds after which a websocket takes no new messages: its cookies are those of its handshake. */
    const MAX_AGE = 30_000;
    /** Milliseconds for which no websocket is tried after one could not be opened. */
    const BLOCKED_TIME = 60_000;
    /** The most characters of a message that the server takes over a websocket. */
    const MAX_LENGTH = 250_000;

    /** The page's token and its secret: see `flash/asgi/page_secret.py`. */
    let token = '';
    let secret = '';
    /** Milliseconds that the fastest request took. */
    let fastest = Infinity;
    /** @type {WebSocket | null} */
    let socket = null;
    /** When it was opened, on the wall clock. */
    let openedAt = 0;
    /** Until when no websocket is tried, on the wall clock. */
    let blockedUntil = 0;
    /** Closes the websocket after `IDLE_TIMEOUT`. @type {ReturnType<typeof setTimeout> | undefined} */
    let idle;
    /** The number of messages that went over a websocket: each has its number as its id. */
    let count = 0;
    /** The messages for the websocket that have no answer yet, by id. @type {Map<number, Sent>} */
    const unanswered = new Map();

    /**
     * The layout has brought the page's names.
     * @param {PageNames} names
     */
    function begin(names) {
        ({token, secret} = names);
    }

    /** The page's token. */
    function page() {
        return token;
    }

    /**
     * The address of one of Flash's routes.
     * @param {string} name
     */
    function url(name) {
        return `${config().prefix}_flash/${name}`;
    }

    /** The name of the header by which Dash answers CSRF protections. */
    function csrfHeader() {
        return config().csrfHeader;
    }

    /** The headers that prove that a message is the page's own: Flash's, and Dash's for a CSRF protection. */
    function proofs() {
        /** @type {Record<string, string>} */
        const headers = {[wire.PROOF_HEADER]: secret};
        const start = `${config().csrfCookie}=`;
        const cookie = document.cookie.split('; ').find(entry => entry.startsWith(start));
        if (cookie !== undefined) {
            headers[csrfHeader()] = decodeURIComponent(cookie.slice(start.length));
        }
        return headers;
    }

    /**
     * Send a POST request with a JSON body.
     * @param {string} address
     * @param {string} body
     * @param {RequestInit} options
     */
    function send(address, body, options) {
        const headers = {'Content-Type': 'application/json', ...proofs()};
        return fetch(address, {method: 'POST', headers, body, credentials: 'same-origin', ...options});
    }

    /**
     * Send a message to one of Flash's routes.
     * @param {string} name
     * @param {object} message
     * @param {() => Promise<Answer>} [ask]  has the request made elsewhere
     */
    function post(name, message, ask) {
        const body = wire.encode(name, {page: token, ...message});
        /** @param {AbortController} controller */
        const byOwnRequest = controller => byRequest(url(name), body, controller);
        return sendEitherWay(name, body, {}, ask ?? byOwnRequest, answer => answer);
    }

    /**
     * The header of a request that starts a stream: it tells a server of several processes what the request is, without
     * its body, and tells it from every other start.
     */
    function startHeader() {
        return {[wire.START_HEADER]: crypto.getRandomValues(new Uint32Array(4)).join('-')};
    }

    /**
     * Send the request by which Dash's renderer starts a stream. By its id the server takes it once if it comes twice.
     * @param {(options: RequestInit) => Promise<Response>} send  sends it, with these options besides its own
     * @param {string} body
     * @returns {Promise<Response>}
     */
    function sendStart(send, body) {
        const id = startHeader();
        return sendEitherWay(
            'start',
            body,
            id,
            ({signal}) => send({signal, headers: id}),
            ({status, text, type}) => new Response(text || null, {status, headers: {'Content-Type': type}})
        );
    }

    /**
     * Send a Dash callback request that starts a stream again; says whether the server took it.
     * @param {object} body
     */
    function startAgain(body) {
        return byRequest(callAddress(), JSON.stringify(body), new AbortController()).then(
            answer => answer.ok,
            () => false
        );
    }

    /**
     * Send a message by a request, and if that is not answered in time over the websocket, too.
     * @template T
     * @param {string} name
     * @param {string} body
     * @param {Record<string, string>} headers  besides those that every message has
     * @param {(controller: AbortController) => Promise<T>} ask  makes the request
     * @param {(answer: Answer) => T} read  makes of an answer over the websocket what `ask` gives
     * @returns {Promise<T>}
     */
    function sendEitherWay(name, body, headers, ask, read) {
        return new Promise((resolve, reject) => {
            const controller = new AbortController();
            const began = performance.now();
            let ways = 1;
            /** @param {Error} error */
            const fail = error => {
                ways -= 1;
                if (ways === 0) {
                    reject(error);
                }
            };
            const late = setTimeout(() => {
                ways += 1;
                overSocket(name, body, headers).then(answer => {
                    resolve(read(answer));
                    // The request need not leave the browser any more.
                    controller.abort();
                }, fail);
            }, Math.max(REQUEST_TIMEOUT, 2 * (fastest < Infinity ? fastest : 0)));
            ask(controller)
                .then(answer => {
                    fastest = Math.min(fastest, performance.now() - began);
                    resolve(answer);
                }, fail)
                .finally(() => clearTimeout(late));
        });
    }

    /**
     * Send a message by a request; rejected if that is not answered in time.
     * @param {string} address
     * @param {string} body
     * @param {AbortController} controller
     * @returns {Promise<Answer>}
     */
    async function byRequest(address, body, controller) {
        // A request on a half-open connection would otherwise hold it for ever.
        const timer = setTimeout(() => controller.abort(), ANSWER_TIMEOUT);
        try {
            const response = await send(address, body, {signal: controller.signal});
            const {status, ok, headers} = response;
            return {status, ok, text: await response.text(), type: headers.get('Content-Type') ?? ''};
        } finally {
            clearTimeout(timer);
        }
    }

    /**
     * Send a message over the websocket.
     * @param {string} name
     * @param {string} body
     * @param {Record<string, string>} headers
     * @returns {Promise<Answer>}
     */
    function overSocket(name, body, headers) {
        return new Promise((resolve, reject) => {
            const id = ++count;
            const message = wire.encode('control', {id, to: name, headers: {...proofs(), ...headers}, body});
            if (message.length > MAX_LENGTH || Date.now() < blockedUntil) {
                reject(new Error('This message can only go by its request.'));
                return;
            }
            if (socket !== null && unanswered.size === 0 && Date.now() - openedAt > MAX_AGE) {
                closeSocket();
            }
            unanswered.set(id, {message, resolve, reject});
            clearTimeout(idle);
            if (socket === null) {
                openSocket();
            } else if (socket.readyState === WebSocket.OPEN) {
                socket.send(message);
            }
        });
    }

    /** Open the websocket, and send the messages that wait for it. */
    function openSocket() {
        /** @type {WebSocket} */
        let opened;
        try {
            opened = new WebSocket(new URL(url('control'), location.href).href.replace(/^http/, 'ws'));
        } catch {
            // A content security policy may forbid it.
            block();
            return;
        }
        socket = opened;
        openedAt = Date.now();
        let stood = false;
        const timer = setTimeout(() => opened.close(), ANSWER_TIMEOUT);
        opened.onopen = () => {
            stood = true;
            clearTimeout(timer);
            if (socket === opened) {
                unanswered.forEach(({message}) => opened.send(message));
            }
        };
        opened.onmessage = ({data}) => {
            if (socket === opened) {
                answer(wire.parseAnswer('control', data));
            }
        };
        opened.onclose = () => {
            clearTimeout(timer);
            if (socket === opened) {
                socket = null;
                stood ? giveUp() : block();
            }
        };
    }

    /**
     * The server has answered over the websocket.
     * @param {ControlAnswer} answered
     */
    function answer({id, status, text, type}) {
        unanswered.get(id)?.resolve({status, ok: status >= 200 && status < 300, text, type});
        unanswered.delete(id);
        if (unanswered.size === 0) {
            idle = setTimeout(closeSocket, IDLE_TIMEOUT);
        }
    }

    /** The websocket could not be opened: try none for a while. */
    function block() {
        blockedUntil = Date.now() + BLOCKED_TIME;
        giveUp();
    }

    /** Leave the messages that have no answer over the websocket to their requests. */
    function giveUp() {
        const messages = [...unanswered.values()];
        unanswered.clear();
        messages.forEach(({reject}) => reject(new Error('The websocket is closed.')));
    }

    /** Close the websocket. */
    function closeSocket() {
        clearTimeout(idle);
        const closed = socket;
        socket = null;
        closed?.close(1000);
        giveUp();
    }

    /**
     * The page is being left.
     * @param {boolean} owner  whether the server is to close the page's channel: not if another page has its token
     */
    function leave(owner) {
        if (owner) {
            const body = wire.encode('close', {page: token});
            if (socket !== null && socket.readyState === WebSocket.OPEN) {
                socket.send(wire.encode('control', {id: ++count, to: 'close', headers: proofs(), body}));
            }
            send(url('close'), body, {keepalive: true}).catch(() => undefined);
        }
        // An open websocket would keep the page out of the back/forward cache.
        closeSocket();
    }

    /**
     * Why the server refuses a link: its sentence, '' if it would take one now. If it is for the cookie, which has
     * changed since the page's streams began, it issues a ticket, which opens a link all the same.
     * @param {number} turn  of the link
     * @returns {Promise<{status: number, message: string, ticket: string | null}>}  `status` is 0 without an answer
     */
    async function explain(turn) {
        try {
            const signal = AbortSignal.timeout(ANSWER_TIMEOUT);
            const asked = new URLSearchParams({page: wire.standing(token, turn, '')});
            const response = await fetch(`${url('status')}?${asked}`, {signal});
            const {ok, status} = response;
            if (ok) {
                return {status, message: '', ticket: null};
            }
            const message = await response.text();
            const issued = status === 403 ? await post('ticket', {}) : null;
            return issued?.ok
                ? {status, message: '', ticket: wire.parseAnswer('ticket', issued.text).ticket}
                : {status, message, ticket: null};
        } catch {
            return {status: 0, message: 'the server does not answer', ticket: null};
        }
    }

    /**
     * The address of a link.
     * @param {number} turn  how often the page has opened one
     * @param {string} last  the id of the last event that has come; '' if none has
     * @param {string | null} ticket
     */
    function link(turn, last, ticket) {
        /** @type {Record<string, string>} */
        const asked = {page: wire.standing(token, turn, last), ...(ticket && {ticket})};
        return `${url('events')}?${new URLSearchParams(asked)}`;
    }

    Object.assign(flash, {
        requests: {
            begin,
            page,
            url,
            csrfHeader,
            proofs,
            post,
            startAgain,
            startHeader,
            sendStart,
            leave,
            explain,
            link
        }
    });
})();
