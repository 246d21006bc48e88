// @ts-check
/**
 * Holds the events that the link has brought, and handles them in their order, in slices of a few milliseconds.
 *
 * The first slice comes with the next frame; if events are left, the next slice follows as soon as the browser has
 * handled the user's input and drawn. The updates of a stream go to `updates.js`, and the next event waits until that
 * has taken all of them into a batch. `lastApplied` is the id of the last event whose updates are all in the layout: it
 * is what the page acknowledges.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {Exclude<keyof Events, 'over'>} Queued  the name of an event that waits for its turn
 * @typedef {{[Name in Queued]: (data: Events[Name]) => void}} Handlers  what is done with each event
 * @typedef {{type: string, data?: string, lastEventId: string}} Incoming  an event as an EventSource brings it
 * @typedef {{name: Queued, text: string, data: any, id: string}} Received  an event, and its data once parsed
 * @typedef {object} Host  what the inbox needs of the link
 * @property {Omit<Handlers, 'props'>} handlers  for every event but `props`, whose updates the inbox passes on itself
 * @property {() => boolean} standing  whether the page has a life, which only `hello` gives it
 * @property {() => void} sliced  called after each slice
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {wire, updates, streams, busyComponents} = flash;
    const {onChange} = flash.renderer;

    /** Milliseconds that a slice takes: half a frame. */
    const SLICE = 8;
    /** Milliseconds to wait for a frame: a page that is not in view may get none. */
    const FRAME_TIMEOUT = 100;

    /** @type {Received[]} */
    let queue = [];
    /** The id of the last event that has come. */
    let received = '';
    /** The ids of the last event that was handled, whose updates may not all be applied yet, and of the one before. */
    let handled = '';
    let before = '';
    /** A slice has been asked for that does not wait for a frame. */
    let hurried = false;
    /** The frame and the timer that the next slice waits for. */
    let frame = 0;
    let late = 0;
    /** Lets other tasks of the page run before the next slice. */
    const hop = new MessageChannel();
    /** @type {Host} */
    let host;
    /** @type {Handlers} */
    let handlers;

    /**
     * The page has got its token: make ready for its events.
     * @param {Host} link
     */
    function begin(link) {
        host = link;
        handlers = {...link.handlers, props: update};
        hop.port1.onmessage = work;
        document.addEventListener('visibilitychange', hurry);
        updates.wake = schedule;
        busyComponents.onReady(goOn);
        onChange(goOn);
    }

    /** What an update waits for may have happened: try it again. */
    function goOn() {
        if (updates.isWaiting() && !updates.applying) {
            hurry();
        }
    }

    /**
     * The link has brought an event.
     * @param {Incoming} event
     */
    function receive({type, data: text, lastEventId: id}) {
        if (text === undefined) {
            // EventSource has an `open` of its own, which is not the server's.
            return;
        }
        inbox.receivedAt = Date.now();
        const name = /** @type {Queued} */ (type);
        if (wire.follows(id, received)) {
            received = id;
        } else if (wire.isNumbered(name)) {
            // A new link brings again what has come over the one before.
            return;
        }
        let data;
        if (name === 'end') {
            data = wire.parse(name, text);
            dropUpdates(data);
        }
        queue.push({name, text, data, id});
        schedule();
    }

    /** Ask for a slice: with the next frame, or at once if the page is hidden and no update has to wait. */
    function schedule() {
        if (document.hidden && !updates.isWaiting()) {
            hurry();
        } else if (frame === 0) {
            frame = requestAnimationFrame(work);
            late = window.setTimeout(work, FRAME_TIMEOUT);
        }
    }

    /** Ask for a slice that does not wait for a frame: a page that is hidden has none. */
    function hurry() {
        if (!hurried) {
            hurried = true;
            hop.port2.postMessage(null);
        }
    }

    /** The id of the last event that has come; '' if none has in the page's life. */
    function lastReceived() {
        return received;
    }

    /** The page's life is over, and its events with it. Those that still wait are of the next life. */
    function forget() {
        handled = before = inbox.lastApplied = '';
    }

    /** Drop the events that wait: their life is over, too. */
    function clear() {
        queue = [];
        received = '';
    }

    /**
     * Drop the updates of a stream that was cut short: they need not be applied any more.
     * @param {Ending} ending
     */
    function dropUpdates({stream, reason}) {
        if (reason !== wire.REASONS.COMPLETED && reason !== wire.REASONS.FAILED) {
            const prefix = wire.streamPrefix(stream);
            queue = queue.filter(({name, text}) => name !== 'props' || !text.startsWith(prefix));
            updates.drop(stream);
        }
    }

    /** Apply a slice of the events. It also ends where an update has to wait: see `updates.js`. */
    function work() {
        cancelAnimationFrame(frame);
        clearTimeout(late);
        frame = 0;
        hurried = false;
        const until = performance.now() + SLICE;
        while (updates.run(until) && queue.length > 0 && performance.now() < until) {
            handle(/** @type {Received} */ (queue.shift()));
        }
        const done = settle(until);
        host.sliced();
        if (updates.isWaiting()) {
            schedule();
        } else if (queue.length > 0 || !done) {
            hurry();
        }
    }

    /**
     * Apply the updates of the events that were handled, as far as there is time; says whether that was all.
     * @param {number} until
     */
    function settle(until) {
        const done = updates.run(until);
        updates.commit();
        inbox.lastApplied = done ? handled : before;
        return done;
    }

    /**
     * Handle an event. The updates of the events before it are in a batch or applied.
     * @param {Received} event
     */
    function handle({name, text, data, id}) {
        if (!host.standing() && name !== 'hello') {
            return;
        }
        if (name === 'ping') {
            // It asks for the last event applied: apply all that was handled before the answer.
            settle(Infinity);
        }
        before = handled;
        try {
            handlers[name](data ?? wire.parse(name, text));
        } catch (error) {
            console.error(`Flash: an event could not be handled: ${name}.`, error);
        }
        // The id of a `hello` or a `ping` may be that of an earlier event.
        if (host.standing() && id !== '' && wire.follows(id, handled)) {
            handled = id;
        }
    }

    /**
     * `props`: a stream has sent updates. Those that come after its end are dropped.
     * @param {PropsOfStream} event
     */
    function update({stream, props}) {
        const opening = streams.running.get(stream);
        if (opening !== undefined) {
            updates.put(props, opening);
            streams.noteUpdates(opening, props);
        }
    }

    const inbox = {
        begin,
        receive,
        lastReceived,
        forget,
        clear,
        lastApplied: '',
        /** When the last event came, on the wall clock. */
        receivedAt: 0
    };
    Object.assign(flash, {inbox});
})();
