// @ts-check
/**
 * The page's link: opens it, keeps it open, hands its events to the inbox, and acknowledges them.
 *
 * One connection carries the events of all streams of the page, or of all pages of the browser: `carrier.js` opens it.
 * How it stands is a state in `link_states.js`; when it is opened again is decided in `reconnect.js`.
 *
 * Each link begins with `hello`, which names the life of the page's channel on the server. If it is the life that the
 * page knows, the server goes on behind the last event that the page has received, and nothing is lost. If it is
 * another, the streams of the life before are gone. So are they when no link stands for longer than the grace. In both
 * cases the page sets its props back to their known-good state. A life begins with the page's first start or its first
 * link, whichever the server gets first.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire, renderer, streams, inbox, requests, carrier, conditions, mistakes, reconnect} = flash;

    /** The status of a link whose page has another. */
    const TAKEN_OVER = 409;
    /** Pings after which the page acknowledges without having been asked. */
    const UNASKED = 1.1;

    const link = new flash.linkStates.LinkLife();
    /** What brings the page its events. @type {LinkSource | null} */
    let source = null;
    /** When the connection was opened, on the wall clock. */
    let openedAt = Date.now();
    /** Seconds between two pings, as `hello` says; Infinity for never. */
    let ping = 15;
    /** Seconds for which the server keeps streams without a link, as `hello` says; Infinity for ever. */
    let grace = 0;
    /**
     * The server's ticket, with which the next link is taken although the browser's cookie has changed; null for none.
     * @type {string | null}
     */
    let ticket = null;
    /** How often the page has opened a link: of two that reach the server, it takes the later one. */
    let turn = 0;
    /** The last reason for a refusal that was shown, so that it is shown once. */
    let shown = '';

    /** The life of the channel that the page knows; '' while it knows none. */
    let life = '';
    /** The life that the page has given up: its server may not have noticed. */
    let abandoned = '';
    /** Whether the server has been told that the page is being left. */
    let left = false;
    /** Gives the life up when the grace is over. @type {ReturnType<typeof setTimeout> | undefined} */
    let losing;

    /** The id of the last event that was acknowledged. */
    let acknowledged = '';
    /** When that was, on the wall clock. */
    let acknowledgedAt = Date.now();

    /** The server does not know this page any more: begin a new life. */
    function restart() {
        close();
        lose();
        if (link.allows('restarted')) {
            connect('restarted');
        }
    }

    /** The streams of the page are gone, and so are their events that wait in the inbox. */
    function lose() {
        inbox.dropWaiting();
        endLife();
    }

    /** The streams of the page are gone; the events that wait in the inbox are of the next life. */
    function endLife() {
        clearTimeout(losing);
        losing = undefined;
        abandoned = life || abandoned;
        life = acknowledged = '';
        inbox.forgetHandled();
        conditions.forget();
        streams.lose();
    }

    function close() {
        if (source !== null) {
            source.close();
            source = null;
        }
    }

    /**
     * Tell the server which event the page has applied last: it need not keep those up to there.
     * @param {boolean} asked  whether the server waits to hear it, even if it has heard it before
     */
    function acknowledge(asked) {
        if (inbox.lastApplied === '' || (inbox.lastApplied === acknowledged && !asked)) {
            return;
        }
        acknowledged = inbox.lastApplied;
        acknowledgedAt = Date.now();
        const told = life;
        const again = () => {
            acknowledged = '';
        };
        carrier.acknowledge(acknowledged).then((/** @type {Answer} */ {ok, status}) => {
            if (!ok) {
                again();
                if ((status === 403 || status === 404) && life === told) {
                    restart();
                }
            }
        }, again);
    }

    /** Acknowledge unasked when the server's `ping` is late: it waits in the inbox behind the events before it. */
    function keepUp() {
        if (Date.now() - acknowledgedAt > UNASKED * ping * 1_000) {
            acknowledge(false);
        }
    }

    /**
     * `ping`: the server asks for an acknowledgement. It can be reached, so what could not be sent is sent, too.
     * @param {Ping} asked
     */
    function answer({lives}) {
        if (lives.includes(life)) {
            acknowledge(true);
        }
        conditions.sendAgain();
    }

    /**
     * `hello`: the server has taken the link.
     * @param {Hello} hello
     */
    function greet(hello) {
        reconnect.refusals.reset();
        shown = '';
        streams.explain(null);
        ping = hello.ping ?? Infinity;
        grace = hello.reconnect_grace ?? Infinity;
        if (hello.life === abandoned) {
            // The server has kept the life that the page has given up. Have it end that; the next life is another.
            requests.post('close', {}).catch(() => undefined);
            return;
        }
        if (hello.life !== life) {
            endLife();
            life = hello.life;
        }
        conditions.sendAgain();
        streams.resume(requests.startAgain);
    }

    /** No link stands: the streams are lost unless one does within the grace. */
    function interrupt() {
        const timeout = reconnect.lossTimeout(grace);
        if (timeout === 0) {
            lose();
        } else if (losing === undefined && life !== '' && timeout < Infinity) {
            losing = setTimeout(lose, timeout);
        }
    }

    /**
     * What is done with each event when the inbox comes to it. `props` is the inbox's own.
     * @type {Omit<Handlers, 'props'>}
     */
    const handlers = {
        hello: greet,
        open: data => streams.open(data, conditions.change),
        end: streams.end,
        refused: streams.refuse,
        mistake: mistakes.report,
        ping: answer
    };

    /** `hello` has come. `greet` handles it when the events before it have been applied; this cannot wait for them. */
    function stand() {
        link.advance('greeted');
        clearTimeout(losing);
        losing = undefined;
    }

    /**
     * `over`: the server does not serve this link any more.
     * @param {MessageEvent} event
     */
    function dismiss({data}) {
        if (wire.parse('over', data).status === TAKEN_OVER) {
            giveWay();
        } else {
            interrupt();
            deny();
        }
    }

    /** The server has refused the link, or ended it for good: open another one after a pause. */
    function deny() {
        close();
        link.advance('denied');
        // Not at once: a page that is being left loses its connection, too.
        setTimeout(retry, reconnect.refusals.next());
    }

    /** Another page has taken over the token. */
    function giveWay() {
        link.advance('taken over');
        close();
        lose();
        console.warn('Flash: this page has been opened a second time; only the newer one is kept up to date.');
    }

    /**
     * Open a new link.
     * @param {LinkTrigger} trigger
     */
    function connect(trigger) {
        link.advance(trigger);
        turn += 1;
        // The server goes on behind the last event that has come, be it applied or not.
        const opened = carrier.open({turn, last: inbox.lastReceived(), ticket}, replace);
        ticket = null;
        source = opened;
        openedAt = Date.now();
        opened.addEventListener('hello', stand);
        opened.addEventListener('over', dismiss);
        for (const name of Object.keys(wire.events).filter(name => name !== 'over')) {
            opened.addEventListener(name, inbox.receive);
        }
        opened.onerror = () => {
            if (source !== opened) {
                return;
            }
            interrupt();
            if (opened.readyState === EventSource.CLOSED) {
                deny();
            } else {
                link.advance('cut');
            }
        };
    }

    /** The pause after a refusal is over. */
    async function retry() {
        await explain();
        if (link.allows('retried')) {
            connect('retried');
        }
    }

    /** Open the link anew if nothing has been heard of the server for too long. */
    function watch() {
        if (source !== null && reconnect.isSilent(link.state, Math.max(openedAt, inbox.receivedAt), ping)) {
            replace();
        }
    }

    /** The link may be half open, or the browser's hub gone: open another. */
    function replace() {
        close();
        interrupt();
        connect('silent');
    }

    /** Ask the server why it refuses the link, and show that. */
    async function explain() {
        const {status, message, ticket: issued} = await requests.askStatus(turn);
        ticket = issued;
        if (status === TAKEN_OVER && link.allows('taken over')) {
            giveWay();
            return;
        }
        if (message !== '' && message !== shown) {
            console.error(`Flash: no connection: ${message}`);
        }
        shown = message;
        streams.explain(message || null);
    }

    /**
     * The layout has brought the page's names.
     * @param {PageNames} names
     */
    function begin(names) {
        if (!link.allows('begun')) {
            return;
        }
        requests.begin(names);
        carrier.begin(names);
        conditions.onUnknownPage(restart);
        inbox.begin({handlers, hasLife: () => life !== '', afterSlice: keepUp});
        streams.watch(conditions.change);
        mistakes.begin(streams.refuseStart);
        connect('begun');
        setInterval(watch, reconnect.CHECK_INTERVAL);
        document.addEventListener('visibilitychange', watch);
        window.addEventListener('online', watch);
        // Firefox cuts short what runs in a tab that is closed, once: the second listener does what the first has not.
        window.addEventListener('pagehide', leave);
        window.addEventListener('pagehide', hide);
        window.addEventListener('pageshow', show);
    }

    /** Tell the server that the page is being left, unless it has been told. */
    function leave() {
        if (!left) {
            // A page that has taken over the token is still there: its channel is not to be closed.
            requests.leave(link.state !== 'replaced');
            left = true;
        }
    }

    /** The page is being left. */
    function hide() {
        leave();
        if (link.allows('hidden')) {
            link.advance('hidden');
        }
        close();
        lose();
        carrier.leave();
    }

    /** The page is shown: for the first time, or again, from the back/forward cache. */
    function show() {
        left = false;
        if (link.allows('shown')) {
            connect('shown');
        }
        watch();
    }

    /**
     * Begin before the first callbacks are called; the page is drawn, and `Page` with it, only after that.
     * @returns {Promise<void>}  resolved when the page's link is sure to get a connection
     */
    async function beginEarly() {
        const names = !link.allows('begun') ? undefined : renderer.component('_flash')?.props;
        if (names?.token) {
            begin(names);
        }
        if (source !== null) {
            await carrier.whenSure(source);
        }
    }

    /**
     * The hidden component that brings the page its names.
     * @param {PageNames} props
     */
    function Page(props) {
        renderer.onceDrawn(() => begin(props));
        return null;
    }

    Object.assign(flash, {Page, link: {beginEarly}});
})();
