// @ts-check
/**
 * Applying updates to the layout, through Dash's own `set_props`.
 *
 * What has come together is applied together: updates are collected, and applied in order by `flush`, in one task,
 * so that the page is drawn once. What a later update of the same component replaces altogether is left out. A
 * `Patch` never is, nor a property that adds to what a component shows.
 *
 * A classic script: Dash serves component files as such.
 */

/**
 * @typedef {string | Record<string, any>} Id  an id; `["ALL"]` as a value of an object stands for a wildcard
 * @typedef {[Id, Record<string, any>]} Pair
 */

(function () {
    const page = /** @type {any} */ (window);

    /** Properties that are taken in, not shown: those of dcc.Graph and of the grid. */
    const ADDING = ['extendData', 'prependData', 'rowTransaction'];

    /** What waits to be applied, in order; null where it was replaced. @type {(Pair | null)[]} */
    let collected = [];
    /** Where the last update of each component is in it, by the component's id. @type {Map<string, number>} */
    const last = new Map();

    /** Called when updates have been applied. @type {() => void} */
    let applied = () => undefined;

    /** The store of Dash's renderer. */
    function store() {
        return page.dash_stores[0];
    }

    /**
     * @param {Id} id
     */
    function isPattern(id) {
        return typeof id !== 'string' && Object.values(id).some(Array.isArray);
    }

    /**
     * The components of the layout that an id means: one at the most, or all that a wildcard matches.
     * @param {Id} id
     * @returns {Id[]}
     */
    function resolve(id) {
        if (typeof id === 'string' || !isPattern(id)) {
            return [id];
        }
        const names = Object.keys(id).sort();
        const known = store().getState().paths.objs[names.join(',')] || [];
        return known
            .map((/** @type {{values: any[]}} */ entry) =>
                Object.fromEntries(names.map((name, i) => [name, entry.values[i]]))
            )
            .filter((/** @type {Record<string, any>} */ found) =>
                names.every(name => Array.isArray(id[name]) || id[name] === found[name])
            );
    }

    /**
     * The component with an id, if it is in the layout.
     * @param {Id} id
     */
    function component(id) {
        const path = pathOf(id);
        return path === undefined ? undefined : page.dash_component_api.getLayout(path);
    }

    /**
     * Where in the layout a component is. (Asked for an object that it does not know, getLayout returns anything.)
     * @param {Id} id
     */
    function pathOf(id) {
        const {strs, objs} = store().getState().paths;
        if (typeof id === 'string') {
            return strs[id];
        }
        const names = Object.keys(id).sort();
        const alike = objs[names.join(',')] || [];
        return alike.find((/** @type {{values: any[]}} */ {values}) =>
            names.every((name, i) => values[i] === id[name])
        )?.path;
    }

    /**
     * Whether props add to what a component shows. It takes the value in when it is drawn, so that the next one must
     * not come before that.
     * @param {Record<string, any>} props
     */
    function adds(props) {
        return ADDING.some(name => name in props);
    }

    /**
     * Whether a value changes what is there instead of replacing it.
     * @param {any} value
     */
    function isPatch(value) {
        return typeof value === 'object' && value !== null && '__dash_patch_update' in value;
    }

    /**
     * Whether props stand for themselves, whatever was there before.
     * @param {Record<string, any>} props
     */
    function isWhole(props) {
        return !adds(props) && !Object.values(props).some(isPatch);
    }

    /**
     * Take in updates, to be applied by the next `flush`.
     * @param {Pair[]} pairs
     */
    function collect(pairs) {
        for (const [id, props] of pairs) {
            const name = typeof id === 'string' ? id : JSON.stringify(id);
            const before = last.get(name);
            const replaced = before === undefined ? null : collected[before];
            if (
                before !== undefined &&
                replaced &&
                isWhole(props) &&
                isWhole(replaced[1]) &&
                Object.keys(replaced[1]).every(prop => prop in props)
            ) {
                collected[before] = null;
            }
            last.set(name, collected.push([id, props]) - 1);
        }
    }

    /** Apply what was collected. */
    function flush() {
        if (collected.length === 0) {
            return;
        }
        const pairs = collected;
        collected = [];
        last.clear();
        updates.applying = true;
        try {
            pairs.forEach(pair => pair && set(pair));
        } finally {
            updates.applying = false;
        }
        applied();
    }

    /**
     * Ids that are not in the layout, such as those of a page that was left, are skipped.
     * @param {Pair} pair
     */
    function set([pattern, props]) {
        for (const id of resolve(pattern)) {
            if (component(id) === undefined) {
                continue;
            }
            try {
                page.dash_clientside.set_props(id, props);
            } catch (error) {
                console.error('Flash: an update could not be applied.', id, error);
            }
        }
    }

    /**
     * Apply updates now, behind what was collected.
     * @param {Pair[]} pairs
     */
    function apply(pairs) {
        collect(pairs);
        flush();
    }

    /**
     * Have `then` called after each `flush`.
     * @param {() => void} then
     */
    function afterwards(then) {
        applied = then;
    }

    const updates = {store, isPattern, resolve, component, adds, collect, flush, apply, afterwards, applying: false};
    page.flash = Object.assign(page.flash || {}, {updates});
})();
