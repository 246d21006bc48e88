// @ts-check
/**
 * Components that take in by and by what they are given.
 *
 * A `dcc.Graph` queues its drawing: what it is to add (`extendData`) it would add twice if more came before it is
 * drawn, and behind a new figure if that came. A grid gathers the rows that it is to add (`rowTransaction`) and adds
 * them 50 ms later, to whatever it then has. So an update of such a component waits until `isBusy` says that
 * what came before has been taken in. Of others that have properties of these names nothing more is known: they
 * are given a frame.
 *
 * A classic script: Dash serves component files as such.
 */

(function () {
    const {flash} = /** @type {any} */ (window);
    const {nameOf, graphProgress, gridApi} = flash.renderer;

    /** Properties that are taken in, not shown. */
    const ADDING = ['extendData', 'prependData', 'rowTransaction'];

    /** Milliseconds after which a frame that does not come is not waited for: the page may be out of sight. */
    const LATE = 100;

    /** Drawings of graphs that have been seen to the end. @type {WeakSet<Promise<any>>} */
    const drawn = new WeakSet();
    /** Drawings whose end is waited for. @type {WeakSet<Promise<any>>} */
    const awaited = new WeakSet();
    /** Other components that have been given something to add, until the next frame. @type {Set<string>} */
    const adding = new Set();
    /** The last `rowTransaction` of each grid, as JSON, and how many alike have followed it. @type {Map<string, [string, number]>} */
    const transactions = new Map();
    /** Called when something has been taken in. @type {() => void} */
    let changed = () => undefined;

    /**
     * What is asynchronous in components of a kind.
     * @typedef {object} Kind
     * @property {(props: Props) => boolean} concerns  whether an update has to do with it
     * @property {(name: string, found: Component) => boolean} isBusy  whether it has still to take in what it was given
     * @property {(name: string, found: Component, props: Props) => Props} prepare  called before it is given props, which it may add to
     */

    /** @type {Kind} */
    const graph = {
        concerns: props => 'figure' in props || adds(props),
        isBusy: name => {
            const progress = graphProgress(name);
            if (progress === null) {
                // Not shown: it starts with what it finds.
                return false;
            }
            if (progress.drawing !== null && !drawn.has(progress.drawing)) {
                follow(progress.drawing);
                return true;
            }
            return progress.hasMore;
        },
        prepare: (name, found, props) => props
    };

    /** @type {Kind} */
    const grid = {
        concerns: () => true,
        isBusy: (name, found) => Boolean(found.props.rowTransaction),
        prepare: (name, found, props) => {
            if (Object.keys(props).every(prop => prop === 'rowTransaction')) {
                return tellApart(name, props);
            }
            gridApi(name)?.flushAsyncTransactions();
            // One that has not been taken in after all, by a grid that is not shown, is not to come behind this.
            return found.props.rowTransaction && 'rowData' in props ? {rowTransaction: null, ...props} : props;
        }
    };

    /** @type {Kind} */
    const other = {
        concerns: adds,
        isBusy: name => adding.has(name),
        prepare: (name, found, props) => {
            adding.add(name);
            const forget = () => {
                // Only one of the two: the other would be for what it is given next.
                cancelAnimationFrame(frame);
                clearTimeout(late);
                adding.delete(name);
                changed();
            };
            const frame = requestAnimationFrame(forget);
            const late = setTimeout(forget, LATE);
            return props;
        }
    };

    /**
     * A grid passes over a `rowTransaction` that is the same as the last: such a one is given a number.
     * @param {string} name
     * @param {Props} props
     */
    function tellApart(name, props) {
        const text = JSON.stringify(props);
        const [last, alike] = transactions.get(name) ?? ['', 0];
        const number = text === last ? alike + 1 : 0;
        transactions.set(name, [text, number]);
        return number > 0 && props.rowTransaction ? {rowTransaction: {...props.rowTransaction, number}} : props;
    }

    /**
     * Whether props add to what a component shows.
     * @param {Props} props
     */
    function adds(props) {
        return ADDING.some(name => name in props);
    }

    /**
     * The kind of a component, if an update concerns what is asynchronous in it.
     * @param {Component} found
     * @param {Props} props
     * @returns {Kind | null}
     */
    function kindOf({namespace, type}, props) {
        let kind = other;
        if (namespace === 'dash_core_components' && type === 'Graph') {
            kind = graph;
        } else if (namespace === 'dash_ag_grid') {
            kind = grid;
        }
        return kind.concerns(props) ? kind : null;
    }

    /**
     * Note when a drawing is over, one that failed included.
     * @param {Promise<any>} drawing
     */
    function follow(drawing) {
        if (!awaited.has(drawing)) {
            awaited.add(drawing);
            const over = () => {
                drawn.add(drawing);
                changed();
            };
            drawing.then(over, over);
        }
    }

    /**
     * Have `then` called when something has been taken in that an update may wait for.
     * @param {() => void} then
     */
    function afterwards(then) {
        changed = then;
    }

    /**
     * Whether a component has to take in what it was given before it is given these props.
     * @param {Id} id
     * @param {Component} found
     * @param {Props} props
     */
    function isBusy(id, found, props) {
        return kindOf(found, props)?.isBusy(nameOf(id), found) ?? false;
    }

    /**
     * The props that a component is to be given now.
     * @param {Id} id
     * @param {Component} found
     * @param {Props} props
     * @returns {Props}
     */
    function prepare(id, found, props) {
        return kindOf(found, props)?.prepare(nameOf(id), found, props) ?? props;
    }

    const asynchronous = {adds, kindOf, isBusy, prepare, afterwards};
    Object.assign(flash, {asynchronous});
})();
